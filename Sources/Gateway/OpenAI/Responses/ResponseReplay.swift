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
        } else if case .elsewhere = kept.progress, last == nil {
            answer = try await node.stream(of: kept.question.dot, for: caller)
        } else {
            answer = try stored(kept, isResumed: last != nil)
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

    /// A response that is over, told again. How its words were cut into events is known no more, so that one cannot
    /// begin in the middle of them.
    private func stored(_ kept: KeptExchange, isResumed: Bool) throws(RuntimeError) -> ChatAnswer {
        if case .elsewhere(let host) = kept.progress {
            throw RuntimeError(
                .invalidRequest,
                "host \(host) writes this response, and how its words are cut into events is known there alone; leave "
                    + "starting_after out, or ask that host", parameter: "starting_after")
        }
        guard kept.progress == .over, let turn = kept.answer?.turn, let outcome = turn.outcome else {
            throw RuntimeError(
                .invalidRequest, "this response is not written in the background; fetch it when it is over",
                parameter: "stream")
        }
        guard !isResumed else {
            throw RuntimeError(
                .invalidRequest,
                "the events of this response are known no more on this host; fetch it without starting_after",
                parameter: "starting_after")
        }
        let events = turn.message.events + [.finished(choice: 0, reason: outcome.finishReason, usage: outcome.usage)]
        return ChatAnswer(
            conversation: kept.conversation, question: kept.question.dot, created: kept.question.timestamp.seconds,
            model: outcome.model, fingerprint: "", servedBy: kept.answer?.dot.origin.node ?? node.id,
            context: ContextReport(
                promptTokens: outcome.usage.promptTokens, contextLength: 0, included: 0, omitted: 0),
            events: AsyncThrowingStream { continuation in
                for event in events { continuation.yield(event) }
                continuation.finish()
            })
    }
}

extension Message {
    /// What a stream tells of it.
    fileprivate var events: [ChatEvent] {
        var events: [ChatEvent] = []
        if let reasoning, !reasoning.isEmpty { events.append(.reasoning(choice: 0, reasoning)) }
        if !text.isEmpty { events.append(.text(choice: 0, text)) }
        for (index, call) in toolCalls.enumerated() {
            let piece = ToolCallPiece(index: index, id: call.id, name: call.name, arguments: call.arguments)
            events.append(.toolCall(choice: 0, piece))
        }
        return events
    }
}
