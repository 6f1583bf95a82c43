import Core
import HTTPTypes
import Node

/// `GET /v1/streams/{id}`: an answer by the id that it began with, as it is being written or as it was kept, on any
/// host. Its events are those of the dialect that the id is of; each that brings a piece of the answer carries how many
/// bytes of it there are by then as its SSE `id:`, and `Last-Event-ID` leaves out so many.
struct AnswerStreams: Sendable {
    let responses: Responses

    private var node: any NodeServices { responses.node }

    func get(_ id: String, _ exchange: Exchange, _ caller: Owner, _ writer: ReplyWriter) async throws {
        let known = try Self.position(exchange)
        let unknown = RuntimeError(.notFound, "there is no answer of that id for this caller")
        guard let separator = id.lastIndex(where: { $0 == "-" || $0 == "_" }),
            let question = Dot(digits: id[id.index(after: separator)...])
        else { throw unknown }
        // What it was asked with decides how it is told.
        if id.hasPrefix("resp_") { return try await responses.stream(id, exchange, caller, writer) }
        let answer: ChatAnswer
        do {
            answer = try await node.stream(of: question, for: caller)
        } catch let error as RuntimeError where error.code == .notFound {
            throw unknown
        }
        if id.hasPrefix("msg_") {
            try await Self.tell(answer, MessagesEncoder(id: id, answer: answer), behind: known, exchange, writer)
        } else {
            let encoder = ChatCompletionEncoder(id: id, model: answer.model, answer: answer, includesUsage: true)
            try await Self.tell(answer, encoder, behind: known, exchange, writer)
        }
    }

    private static func position(_ exchange: Exchange) throws(RuntimeError) -> Int {
        guard let text = exchange.head.headerFields[.lastEventID] else { return 0 }
        guard let number = Int(text), number >= 0 else {
            throw RuntimeError(
                .invalidRequest, "Last-Event-ID must be the id of an event: how many bytes of the answer are known",
                parameter: "Last-Event-ID")
        }
        return number
    }

    /// Streams an answer that others may read as well.
    ///
    /// - Parameter behind: leave out so many bytes of it, and number the rest; nil: all of it, without numbers.
    static func tell<Encoder: AnswerEncoder>(
        _ answer: ChatAnswer, _ encoder: Encoder, behind known: Int?, _ exchange: Exchange, _ writer: ReplyWriter
    ) async throws {
        let headers = await AnswerFlow.headers(of: answer)
        try await exchange.client.whilePresent {
            var encoder = encoder
            var rest = AnswerRest(behind: known ?? 0)
            try await writer.openStream(headers, type: Encoder.streamType)
            try await writer.send(events: encoder.opening())
            var tally = AnswerTally(choices: 1)
            do {
                for try await event in answer.events {
                    try tally.add(event)
                    guard let event = rest.of(event) else { continue }
                    let bytes = encoder.piece(event)
                    guard !bytes.isEmpty else { continue }
                    let number = known == nil ? [] : Array("id: \(rest.position)\n".utf8)
                    try await writer.send(events: number + bytes)
                }
                try Task.checkCancellation()
                try await writer.send(events: encoder.closing(tally.choices, try tally.usage()))
            } catch let error where !exchange.client.isGone && !Task.isCancelled {
                try await writer.send(events: encoder.breakingOff(APIError(error)))
            }
            try await writer.finish()
        }
    }
}

/// What of an answer a client does not know yet, who has read so many bytes of it.
struct AnswerRest: Sendable {
    private let known: Int
    /// Bytes of thoughts, text and arguments that have passed.
    private(set) var position = 0

    init(behind known: Int) { self.known = known }

    /// Nil for what is known.
    mutating func of(_ event: ChatEvent) -> ChatEvent? {
        switch event {
        case .text(let choice, let text): return rest(of: text).map { .text(choice: choice, $0) }
        case .reasoning(let choice, let text): return rest(of: text).map { .reasoning(choice: choice, $0) }
        case .toolCall(let choice, var piece):
            // The call's name is told with its first piece, however much of that is known.
            let isFirst = piece.name != nil
            guard let arguments = rest(of: piece.arguments) ?? (isFirst ? "" : nil) else { return nil }
            piece.arguments = arguments
            return .toolCall(choice: choice, piece)
        case .logprobs: return position < known ? nil : event
        case .moved, .finished: return event
        }
    }

    private mutating func rest(of text: String) -> String? {
        let before = position
        position += text.utf8.count
        guard before < known else { return text }
        let rest = String(decoding: text.utf8.dropFirst(known - before), as: UTF8.self)
        return rest.isEmpty ? nil : rest
    }
}
