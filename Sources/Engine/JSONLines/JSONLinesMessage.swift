import Core

/// What the daemon writes to an engine: one JSON object a line (docs/engine-protocol.md).
enum EngineCommand {
    static func encode(generate request: GenerationRequest, as id: RequestID) -> [UInt8] {
        var object = JSON.Object()
        object["op"] = "generate"
        object["id"] = .string(id.wire)
        if let prompt = request.rawPrompt {
            object["prompt"] = .string(prompt)
        } else {
            object["messages"] = .array(
                request.messages.map { ["role": .string($0.role.rawValue), "content": .string($0.text)] })
        }
        object["partial"] = request.partial.map { .string($0) }
        object["max_tokens"] = .integer(Int64(request.maximumTokens))
        if !request.stop.isEmpty { object["stop"] = .array(request.stop.map { .string($0) }) }
        let sampling = request.sampling
        object["temperature"] = sampling.temperature.map { .number($0) }
        object["top_p"] = sampling.topP.map { .number($0) }
        object["top_k"] = sampling.topK.map { .integer(Int64($0)) }
        object["min_p"] = sampling.minP.map { .number($0) }
        object["seed"] = sampling.seed.map { .integer(Int64(bitPattern: $0 & UInt64(Int64.max))) }
        object["presence_penalty"] = sampling.presencePenalty.map { .number($0) }
        object["frequency_penalty"] = sampling.frequencyPenalty.map { .number($0) }
        return JSON.object(object).encoded + [UInt8(ascii: "\n")]
    }

    static func encode(cancel id: RequestID) -> [UInt8] {
        let message: JSON = ["op": "cancel", "id": .string(id.wire)]
        return message.encoded + [UInt8(ascii: "\n")]
    }
}

/// What an engine writes: one JSON object a line.
enum EngineMessage: Sendable {
    struct Ready: Hashable, Sendable {
        var fingerprint: String
        var contextLength: Int
        var slots: Int
        var tokenCost: TokenCost
        var samplingFields: Set<String>
        var capabilities: Set<EngineCapability> = []
    }

    /// What this version of the protocol has words for.
    private static let capabilities: Set<EngineCapability> = [.rawPrompt, .partial]

    case ready(Ready)
    /// The engine cannot work and will end.
    case fatal(message: String)
    case text(RequestID, String)
    case done(RequestID, EngineFinish)
    case failed(RequestID, RuntimeError)
    /// An event that this version does not know, or one for a request that cannot be ours.
    case other

    /// Reads one line.
    ///
    /// - Throws: ``RuntimeError`` `.engineFailed` when it is no message of the protocol.
    init(line: [UInt8]) throws(RuntimeError) {
        guard let json = try? JSON.parse(line), let event = json["event"]?.string else {
            throw RuntimeError(.engineFailed, "the engine wrote a line that is no message of the protocol")
        }
        switch event {
        case "ready": self = .ready(try Self.ready(json))
        case "fatal": self = .fatal(message: Self.short(json["message"]) ?? "it gave no reason")
        case "text", "done", "error":
            guard let id = json["id"]?.string.flatMap(RequestID.init(wire:)) else {
                self = .other
                return
            }
            switch event {
            case "text":
                guard let text = json["text"]?.string else { throw Self.incomplete(event) }
                self = .text(id, text)
            case "done":
                self = .done(id, try EngineFinish(json))
            default:
                self = .failed(id, Self.failure(json))
            }
        default: self = .other
        }
    }

    private static func ready(_ json: JSON) throws(RuntimeError) -> Ready {
        guard json["protocol"]?.integer == 1 else {
            throw RuntimeError(
                .engineFailed, "the engine speaks another version of the protocol; this daemon knows version 1")
        }
        let cost = json["tokens"]
        guard let context = json["context"]?.integer.map(Int.init(clamping:)), context > 0,
            let perByte = cost?["per_byte"]?.number, perByte >= 0, perByte <= 1_000,
            let perMessage = cost?["per_message"]?.integer, (0...100_000).contains(perMessage),
            let fixed = cost?["fixed"]?.integer, (0...1_000_000).contains(fixed)
        else { throw incomplete("ready") }
        return Ready(
            fingerprint: short(json["fingerprint"]) ?? short(json["model"]) ?? "unknown", contextLength: context,
            slots: Int(clamping: min(64, max(1, json["slots"]?.integer ?? 1))),
            tokenCost: TokenCost(
                perByte: perByte, perMessage: Int(perMessage), fixed: Int(fixed),
                isExact: cost?["exact"]?.bool ?? false),
            samplingFields: Set((json["sampling"]?.array ?? []).compactMap(\.string)),
            capabilities: capabilities.intersection(
                (json["capabilities"]?.array ?? []).compactMap { $0.string.flatMap(EngineCapability.init(rawValue:)) }))
    }

    private static func failure(_ json: JSON) -> RuntimeError {
        let message = short(json["message"])
        switch json["code"]?.string {
        case "context_length_exceeded":
            return RuntimeError(
                .contextLengthExceeded, message ?? "the prompt does not fit the model's context", parameter: "messages")
        case "invalid_request":
            return RuntimeError(.invalidRequest, message ?? "the engine refused the request")
        default:
            // What the engine says of a failure may quote the prompt, and failures are logged: its words stay here.
            return RuntimeError(.engineFailed, "the engine says that it failed; see what it writes to standard error")
        }
    }

    private static func incomplete(_ event: String) -> RuntimeError {
        RuntimeError(.engineFailed, "the engine's \(event) message lacks a field or has a wrong one")
    }

    /// Text of an engine that may reach a client or the log: bounded, one line.
    private static func short(_ value: JSON?) -> String? {
        guard let text = value?.string, !text.isEmpty else { return nil }
        return String(text.prefix(300).map { $0.isNewline ? " " : $0 })
    }
}

/// How an engine ended an answer.
struct EngineFinish: Hashable, Sendable {
    enum Reason: String, Sendable {
        case stop
        case length
        case cancelled
    }

    var reason: Reason
    var usage: TokenUsage

    fileprivate init(_ json: JSON) throws(RuntimeError) {
        guard let reason = json["reason"]?.string.flatMap(Reason.init(rawValue:)) else {
            throw RuntimeError(.engineFailed, "the engine's done message has no reason that this version knows")
        }
        // Bounded, so that nobody who adds them up has to fear an overflow.
        func count(_ key: String) -> Int { Int(clamping: min(Int64(Int32.max), max(0, json[key]?.integer ?? 0))) }
        self.reason = reason
        usage = TokenUsage(
            promptTokens: count("prompt_tokens"), completionTokens: count("completion_tokens"),
            cachedTokens: count("cached_tokens"))
        usage.stop = json["stop"]?.string
    }

    init(reason: Reason, usage: TokenUsage) {
        self.reason = reason
        self.usage = usage
    }
}
