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
            answer = try stored(kept, isResumed: last != nil)
        }
        let headers = await AnswerFlow.headers(of: answer)
        try await exchange.client.whilePresent {
            var encoder = ResponseEncoder(record, answer: answer, after: last ?? -1)
            try await writer.openStream(headers, type: ResponseEncoder.streamType)
            try await writer.send(events: encoder.opening())
            var tally = AnswerTally(choices: 1)
            do {
                for try await event in answer.events {
                    try tally.add(event)
                    let bytes = encoder.piece(event)
                    if !bytes.isEmpty { try await writer.send(events: bytes) }
                }
                try Task.checkCancellation()
                try await writer.send(events: encoder.closing(tally.choices, try tally.usage()))
            } catch let error where !exchange.client.isGone && !Task.isCancelled {
                try await writer.send(events: encoder.breakingOff(APIError(error)))
            }
            try await writer.finish()
        }
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
                "host \(host) writes this response; read its stream there, or fetch it until it is over",
                parameter: "stream")
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
