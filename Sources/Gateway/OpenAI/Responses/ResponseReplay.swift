import Core
import HTTPTypes
import Node

/// `GET /v1/responses/{id}?stream=true`: the events of a response, from the first or from behind `starting_after`.
extension Responses {
    func replay(
        _ kept: KeptExchange, _ record: ResponseRecord, _ exchange: Exchange, _ caller: Owner, _ writer: ReplyWriter
    ) async throws {
        let last = try Self.startingAfter(exchange)
        let answer: ChatAnswer
        if let live = try await node.answerInBackground(to: kept.question.dot, of: caller) {
            answer = live
        } else {
            if last != nil { throw Self.unknownEvents(kept) }
            answer = try await node.stream(of: kept.question.dot, for: caller)
        }
        try await AnswerStreams.tell(
            answer, ResponseEncoder(record, answer: answer, after: last ?? -1), behind: nil, exchange, writer)
    }

    /// The events of a response, in the background or not, from its beginning.
    func stream(_ id: String, _ exchange: Exchange, _ caller: Owner, _ writer: ReplyWriter) async throws {
        let (kept, record) = try await find(id, caller)
        let answer = try await node.stream(of: kept.question.dot, for: caller)
        try await AnswerStreams.tell(answer, ResponseEncoder(record, answer: answer), behind: nil, exchange, writer)
    }

    private static func startingAfter(_ exchange: Exchange) throws(RuntimeError) -> Int? {
        guard let text = exchange.query("starting_after") else { return nil }
        guard let number = Int(text), number >= 0, number < Int(Int32.max) else {
            throw RuntimeError(
                .invalidRequest, "starting_after must be the number of an event", parameter: "starting_after")
        }
        return number
    }

    /// How the words of a response were cut into events is known to the host that writes it, and for a while only; one
    /// cannot begin in the middle of them elsewhere.
    private static func unknownEvents(_ kept: KeptExchange) -> RuntimeError {
        let place =
            if case .elsewhere(let host) = kept.progress { "ask host \(host), which writes it, or " } else { "" }
        return RuntimeError(
            .invalidRequest,
            "the events of this response are not known on this host; \(place)leave starting_after out",
            parameter: "starting_after")
    }
}
