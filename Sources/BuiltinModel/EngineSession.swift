import Core

/// The child's side of docs/engine-protocol.md: lines in, lines out. Reads no clock and does no I/O.
final class EngineSession {
    /// Answers that may wait for a slot.
    static let waitingLimit = Limits.queuedRequestsPerModel
    static let idBytes = 128

    private let scheduler: Scheduler

    init(_ scheduler: Scheduler) { self.scheduler = scheduler }

    /// The first line.
    func ready() -> [UInt8] {
        let cost = ByteVocabulary.tokenCost
        let model = scheduler.model
        return Self.line([
            "event": "ready", "protocol": 1, "model": .string(model.name), "fingerprint": .string(model.fingerprint),
            "context": .integer(Int64(model.shape.contextLength)), "slots": .integer(Int64(scheduler.slots.count)),
            "tokens": [
                "per_byte": .integer(Int64(cost.perByte)), "per_message": .integer(Int64(cost.perMessage)),
                "fixed": .integer(Int64(cost.fixed)), "exact": .bool(cost.isExact),
            ],
            "sampling": .array(Sampler.fields.map(JSON.string)),
            "capabilities": [.string(EngineCapability.partial.rawValue), .string(EngineCapability.rawPrompt.rawValue)],
        ])
    }

    /// The last line of a child that cannot start.
    static func fatal(_ error: RuntimeError) -> [UInt8] {
        line(["event": "fatal", "message": .string(error.message)])
    }

    /// Takes one line of the parent's, without its end. Gives the lines to write at once.
    func receive(_ line: [UInt8]) -> [UInt8] {
        let order: JSON
        do {
            order = try JSON.parse(line)
        } catch {
            return Self.line(["event": "error", "message": .string(error.message)])
        }
        guard let id = order["id"]?.string, !id.isEmpty, id.utf8.count <= Self.idBytes else {
            return Self.line([
                "event": "error", "message": .string("the line names no id of 1 to \(Self.idBytes) bytes"),
            ])
        }
        switch order["op"]?.string {
        case "generate":
            do {
                return try generate(order, id: id)
            } catch {
                return Self.line(error, id: id)
            }
        case "cancel": return Self.lines(scheduler.cancel(id))
        case "ping": return Self.line(["event": "pong", "id": .string(id)])
        default:
            let error = RuntimeError(
                .invalidRequest, "op is not generate, cancel or ping", parameter: "op")
            return Self.line(error, id: id)
        }
    }

    /// Reports a line that was too long to keep.
    func receiveOverlong() -> [UInt8] {
        Self.line(["event": "error", "message": .string("a line has more than \(Limits.engineLineBytes) bytes")])
    }

    func wake(at now: Duration) -> Scheduler.Wake { scheduler.wake(at: now) }

    /// Does one piece of work. Gives the lines to write.
    func advance(at now: Duration) -> [UInt8] { Self.lines(scheduler.advance(at: now)) }

    func cancelAll() -> [UInt8] { Self.lines(scheduler.cancelAll()) }

    private func generate(_ order: JSON, id: String) throws(RuntimeError) -> [UInt8] {
        guard !scheduler.knows(id) else {
            throw RuntimeError(.invalidRequest, "an answer with this id is being written", parameter: "id")
        }
        guard scheduler.waitingCount < Self.waitingLimit else {
            throw RuntimeError(.overloaded, "\(Self.waitingLimit) requests are waiting; try later")
        }
        let request = try GenerationRequest(order)
        let context = scheduler.model.shape.contextLength
        let vocabulary = scheduler.model.vocabulary
        let prompt = request.rawPrompt.map(vocabulary.prompt) ?? vocabulary.prompt(request.messages)
        guard prompt.count < context else {
            throw RuntimeError(
                .contextLengthExceeded,
                "the prompt has \(prompt.count) tokens; with room for one of the answer, \(context - 1) fit this model",
                parameter: request.rawPrompt == nil ? "messages" : "prompt")
        }
        let written = vocabulary.tokens(of: request.partial ?? "")
        // Whoever began the answer would have ended it there.
        guard written.count < request.maximumTokens, prompt.count + written.count < context else {
            let usage = TokenUsage(promptTokens: prompt.count, completionTokens: written.count)
            return Self.lines([.done(id: id, .length, usage)])
        }
        scheduler.submit(
            GenerationOrder(
                id: id, prompt: prompt + written, written: written.count,
                maximumTokens: request.maximumTokens, stop: request.stop, sampling: request.sampling))
        return []
    }
}

// MARK: Lines

extension EngineSession {
    private static func lines(_ events: [Scheduler.Event]) -> [UInt8] {
        var bytes: [UInt8] = []
        for event in events {
            switch event {
            case .text(let id, let text):
                bytes.append(contentsOf: #"{"event":"text","id":"#.utf8)
                JSON.write(id, to: &bytes)
                bytes.append(contentsOf: #","text":"#.utf8)
                JSON.write(text, to: &bytes)
                bytes.append(contentsOf: "}\n".utf8)
            case .done(let id, let ending, let usage):
                var done = JSON.Object()
                done["event"] = "done"
                done["id"] = .string(id)
                done["reason"] = .string(ending.rawValue)
                if let stop = usage.stop { done["stop"] = .string(stop) }
                done["prompt_tokens"] = .integer(Int64(usage.promptTokens))
                done["completion_tokens"] = .integer(Int64(usage.completionTokens))
                done["cached_tokens"] = .integer(Int64(usage.cachedTokens))
                bytes += line(.object(done))
            }
        }
        return bytes
    }

    private static func line(_ error: RuntimeError, id: String) -> [UInt8] {
        let code: RuntimeError.Code? =
            switch error.code {
            case .contextLengthExceeded, .invalidRequest: error.code
            default: nil
            }
        var object: JSON.Object = JSON.Object()
        object["event"] = "error"
        object["id"] = .string(id)
        object["code"] = .string(code?.rawValue ?? "failed")
        object["message"] = .string(error.message)
        if let parameter = error.parameter { object["parameter"] = .string(parameter) }
        return line(.object(object))
    }

    private static func line(_ json: JSON) -> [UInt8] { json.encoded + [UInt8(ascii: "\n")] }
}
