import Core
import HTTPTypes
import Logging
import Node

/// `POST /v1/chat/completions`.
struct ChatCompletions: Sendable {
    let node: any NodeServices
    let metrics: GatewayMetrics
    let limits: GatewayLimits

    /// Answers on `writer`. An error thrown before the response has begun becomes a plain error reply; later ones are
    /// told in the stream here.
    func respond(to exchange: Exchange, caller: Owner, body: [UInt8], _ writer: ReplyWriter) async throws {
        let request = try ChatCompletionRequest(JSON.parse(body), headers: exchange.head.headerFields)
        try await exchange.client.whilePresent {
            if request.streams {
                try await stream(request, exchange, caller, writer)
            } else {
                try await writer.send(try await reply(to: request, exchange, caller))
            }
        }
    }

    // MARK: Whole

    private func reply(
        to request: ChatCompletionRequest, _ exchange: Exchange, _ caller: Owner
    ) async throws -> Reply {
        let answer = try await node.answer(request.chat, caller: caller)
        let encoder = encoder(for: request, answer)
        var collected = AnswerTally(choices: request.chat.choices)
        do {
            for try await event in answer.events {
                if collected.isEmpty { metrics.firstToken(model: answer.model, after: exchange.elapsed) }
                try collected.add(event)
            }
            try Task.checkCancellation()
            let usage = try collected.usage()
            metrics.tokens(model: answer.model, usage)
            var reply = Reply(encoder.whole(collected.choices, usage))
            // Asked after the last event, when the answer's turn is kept too.
            reply.headers = reply.headers + (await Self.headers(of: answer))
            return reply
        } catch let error where !(error is CancellationError) {
            // The question is on disk by now. A library that sends it again by itself would only make more work.
            var failure = APIError(error)
            failure.headers.append(("x-should-retry", "false"))
            if let id = answer.conversation { failure.headers.append(("x-conversation-id", id.rawValue)) }
            throw failure
        }
    }

    // MARK: Streamed

    private func stream(
        _ request: ChatCompletionRequest, _ exchange: Exchange, _ caller: Owner, _ writer: ReplyWriter
    ) async throws {
        do {
            let answer = try await begin(request, caller, writer)
            if writer.begun == nil {
                try await writer.openStream(await Self.headers(of: answer))
            }
            try await send(answer, request, exchange, writer)
        } catch let error where writer.begun != nil && !(error is CancellationError) && !exchange.client.isGone {
            exchange.log.notice("answer broke off", metadata: ["error": "\(error)"])
            try await writer.send(events: ChatCompletionEncoder.failure(APIError(error)))
            try await writer.finish()
        }
    }

    /// Waits for the answer to begin, so that a failure before it is a plain error with its own status. Past the
    /// heartbeat's interval the stream is opened all the same: something on the way might take the silence for death.
    private func begin(
        _ request: ChatCompletionRequest, _ caller: Owner, _ writer: ReplyWriter
    ) async throws -> ChatAnswer {
        try await withThrowingTaskGroup(of: ChatAnswer?.self) { group in
            group.addTask { try await node.answer(request.chat, caller: caller) }
            group.addTask {
                try await Task.sleep(for: limits.heartbeat)
                return nil
            }
            defer { group.cancelAll() }
            while let first = try await group.next() {
                if let answer = first { return answer }
                try await writer.openStream(HTTPFields())
            }
            throw CancellationError()
        }
    }

    private func send(
        _ answer: ChatAnswer, _ request: ChatCompletionRequest, _ exchange: Exchange, _ writer: ReplyWriter
    ) async throws {
        let encoder = encoder(for: request, answer)
        for choice in 0..<request.chat.choices { try await writer.send(events: encoder.opening(choice: choice)) }
        var tally = AnswerTally(choices: request.chat.choices, keepsText: false)
        for try await event in answer.events {
            if tally.isEmpty { metrics.firstToken(model: answer.model, after: exchange.elapsed) }
            try tally.add(event)
            switch event {
            case .text(let choice, let text):
                try await writer.send(events: encoder.text(text, choice: choice))
            case .reasoning, .toolCall, .logprobs:
                break  // Not asked for: ``ChatCompletionRequest`` refuses what leads to them.
            case .finished(let choice, let reason, _):
                try await writer.send(events: encoder.finish(choice: choice, reason: reason))
            }
        }
        try Task.checkCancellation()
        let usage = try tally.usage()
        metrics.tokens(model: answer.model, usage)
        let count = request.includesUsage ? encoder.usage(usage) : []
        try await writer.send(events: count + ChatCompletionEncoder.end)
        try await writer.finish()
    }

    /// ``HTTPField/Name/replicas`` is what is known when the headers are made: of a stream, how many stores have the
    /// question.
    private static func headers(of answer: ChatAnswer) async -> HTTPFields {
        var headers = HTTPFields()
        headers[.replicas] = "\(await answer.replicas())"
        headers[.conversationID] = answer.conversation?.rawValue
        headers[.servedBy] = answer.servedBy.description
        return headers
    }

    private func encoder(
        for request: ChatCompletionRequest, _ answer: ChatAnswer
    ) -> ChatCompletionEncoder {
        ChatCompletionEncoder(
            id: "chatcmpl-\(Exchange.answerID())", model: request.chat.model, answer: answer,
            includesUsage: request.includesUsage)
    }
}
