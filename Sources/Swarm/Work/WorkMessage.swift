package import Core

/// What one host asks of another's engine.
package enum Work: Hashable, Sendable {
    /// What the model's engine can do.
    case describe
    case generate(GenerationRequest)
    case embed([String])
    /// How many tokens a prompt has.
    case count([Message], AnswerShape)
    /// Stand by for an answer of the asker's until it is cancelled; what it writes follows as ``WorkMessage/more(_:_:)``.
    case standBy(StandbyRequest)
    /// Whether the answer to a question is written, or stood by for, here.
    case find(Dot)
    /// That answer, from its beginning.
    case follow(Dot)

    /// Events come of it.
    package var isAnswer: Bool {
        switch self {
        case .generate, .follow: true
        case .describe, .embed, .count, .standBy, .find: false
        }
    }
}

/// What comes of it, where that is one thing.
package enum WorkResult: Hashable, Sendable {
    case description(EngineDescription)
    case embeddings(Embeddings)
    /// Nil: the engine does not count.
    case count(Int?)
    /// Nil: nothing is known of the answer.
    case found(AnswerFacts?)
}

/// A ``RuntimeError`` on its way to another host.
package struct WorkFailure: Hashable, Sendable {
    package var code: RuntimeError.Code
    package var message: String
    package var parameter: String?
    package var retryAfter: Duration?
    /// It had not begun: it left a queue.
    package var exit: QueueExit?

    package init(_ error: RuntimeError) {
        code = error.code
        message = error.message
        parameter = error.parameter
        retryAfter = error.retryAfter
        exit = error.cause as? QueueExit
    }

    package var error: RuntimeError {
        RuntimeError(code, message, parameter: parameter, retryAfter: retryAfter, cause: exit)
    }
}

/// What hosts say on a link for work (``LinkPurpose/work``). The one that opened the link asks, the other one answers;
/// requests are told apart by numbers of the asker's.
package enum WorkMessage: Hashable, Sendable {
    /// `model` is its name on the host that is asked.
    case ask(UInt64, model: String, Work)
    /// The next of an answer; the one that is `finished` is the last word on it.
    case event(UInt64, GenerationEvent)
    case result(UInt64, WorkResult)
    case failed(UInt64, WorkFailure)
    /// The asker wants no more of it.
    case cancel(UInt64)
    /// So many more bytes of events may come: the reader has taken as many.
    case credit(UInt64, bytes: Int)
    /// The next of the answer that the other host stands by for.
    case more(UInt64, GenerationEvent)
    /// Are you there?
    case ping
    case pong
}

extension WorkMessage {
    private enum Kind: UInt8 {
        case ask = 1
        case event, result, failed, cancel, credit, ping, pong, more
    }

    private static let textBytes = 4_096

    package var encoded: [UInt8] {
        var writer = ByteWriter()
        func begin(_ kind: Kind, _ id: UInt64) {
            writer.put(kind.rawValue)
            writer.put(varint: id)
        }
        switch self {
        case .ask(let id, let model, let work):
            begin(.ask, id)
            writer.put(text: model)
            writer.put(work)
        case .event(let id, let event):
            begin(.event, id)
            writer.put(event)
        case .result(let id, let result):
            begin(.result, id)
            writer.put(result)
        case .failed(let id, let failure):
            begin(.failed, id)
            writer.put(text: failure.code.rawValue)
            writer.put(text: failure.message)
            writer.put(optional: failure.parameter)
            writer.put(number: failure.retryAfter.map { Int(clamping: $0.components.seconds) })
            if let exit = failure.exit { writer.put(exit) }
        case .cancel(let id): begin(.cancel, id)
        case .credit(let id, let bytes):
            begin(.credit, id)
            writer.put(varint: UInt64(clamping: bytes))
        case .more(let id, let event):
            begin(.more, id)
            writer.put(event)
        case .ping: writer.put(Kind.ping.rawValue)
        case .pong: writer.put(Kind.pong.rawValue)
        }
        return writer.bytes
    }

    /// Nil: a kind of message that this version does not know, to be skipped.
    ///
    /// - Throws: ``RuntimeError`` `.corrupt`.
    package static func decode(_ bytes: [UInt8]) throws(RuntimeError) -> WorkMessage? {
        var reader = ByteReader(bytes)
        guard let kind = Kind(rawValue: try reader.byte()) else { return nil }
        switch kind {
        case .ask:
            let id = try reader.varint()
            let model = try reader.line(atMost: textBytes)
            return .ask(id, model: model, try reader.work())
        case .event: return .event(try reader.varint(), try reader.event())
        case .result: return .result(try reader.varint(), try reader.result())
        case .failed:
            let id = try reader.varint()
            // A code of a newer version is a failure all the same.
            let code = RuntimeError.Code(rawValue: try reader.line(atMost: textBytes)) ?? .engineFailed
            var error = RuntimeError(code, try reader.line(atMost: textBytes))
            error.parameter = try reader.optional(atMost: textBytes)
            error.retryAfter = try reader.number(0...86_400).map { .seconds($0) }
            if !reader.isAtEnd { error.cause = try reader.queueExit() }
            return .failed(id, WorkFailure(error))
        case .cancel: return .cancel(try reader.varint())
        case .credit: return .credit(try reader.varint(), bytes: try reader.count(atMost: Limits.workWindowBytes * 64))
        case .more: return .more(try reader.varint(), try reader.event())
        case .ping: return .ping
        case .pong: return .pong
        }
    }
}
