import Core
import HTTPTypes
import Logging
import Node

/// Takes a canonical request to the last byte of its answer, whatever the dialect: waits for the answer to begin,
/// opens the stream, counts, and tells of failures where they still can be told.
struct AnswerFlow: Sendable {
    let node: any NodeServices
    let metrics: GatewayMetrics
    let limits: GatewayLimits
    /// Called for each piece of an answer.
    var progressed: @Sendable () -> Void = {}

    /// Answers on `writer`. An error thrown before the response has begun becomes a plain error reply; later ones are
    /// told in the stream here.
    ///
    /// - Parameter encoder: made once the answer has begun.
    func answer<Encoder: AnswerEncoder>(
        _ request: ChatRequest, streams: Bool, to exchange: Exchange, caller: Owner, _ writer: ReplyWriter,
        encoder: @escaping @Sendable (ChatAnswer) -> Encoder
    ) async throws {
        var request = request
        // One in the background is read from the store, as far as it is.
        request.isReadWhole = !streams && !request.runsInBackground
        try await exchange.client.whilePresent { [request] in
            if streams {
                try await stream(request, exchange, caller, writer, encoder)
            } else {
                try await writer.send(try await reply(to: request, exchange, caller, encoder))
            }
        }
    }

    /// Waits for the model to be loaded, as long as a client without a stream has patience.
    func prepare(_ model: String) async throws {
        try await node.prepare(model, keepAlive: nil, patience: limits.modelPatience)
    }

    // MARK: Whole

    private func reply<Encoder: AnswerEncoder>(
        to request: ChatRequest, _ exchange: Exchange, _ caller: Owner,
        _ makeEncoder: @Sendable (ChatAnswer) -> Encoder
    ) async throws -> Reply {
        try await prepare(request.model)
        let answer = try await node.answer(request, caller: caller)
        let encoder = makeEncoder(answer)
        var collected = AnswerTally(choices: request.choices)
        do {
            for try await event in answer.events {
                if collected.isEmpty { metrics.firstToken(model: answer.model, after: exchange.elapsed) }
                progressed()
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
            if !failure.headers.contains(where: { $0.name == "x-should-retry" }) {
                failure.headers.append(("x-should-retry", "false"))
            }
            if let id = answer.conversation { failure.headers.append(("x-conversation-id", id.rawValue)) }
            throw failure
        }
    }

    // MARK: Streamed

    private func stream<Encoder: AnswerEncoder>(
        _ request: ChatRequest, _ exchange: Exchange, _ caller: Owner, _ writer: ReplyWriter,
        _ makeEncoder: @Sendable (ChatAnswer) -> Encoder
    ) async throws {
        var encoder: Encoder?
        do {
            let answer = try await begin(request, exchange.client, caller, writer, Encoder.streamType)
            var made = makeEncoder(answer)
            let opening = made.opening()
            if writer.begun == nil {
                let headers = await Self.headers(of: answer)
                try await writer.openStream(headers, type: Encoder.streamType, first: opening)
            } else {
                try await writer.send(events: opening)
            }
            defer { encoder = made }
            try await send(answer, request, exchange, writer, &made)
        } catch let error where writer.begun != nil && !(error is CancellationError) && !exchange.client.isGone {
            exchange.log.notice("answer broke off", metadata: ["error": "\(error)"])
            let failure = APIError(error)
            try await writer.send(events: encoder?.breakingOff(failure) ?? Encoder.failure(failure))
            try await writer.finish()
        }
    }

    /// Waits for the answer to begin, so that a failure before it is a plain error with its own status. Past the
    /// heartbeat's interval the stream is opened all the same: something on the way might take the silence for death.
    /// While the model is being loaded, a stream of events says so all the time.
    private func begin(
        _ request: ChatRequest, _ client: ClientConnection, _ caller: Owner, _ writer: ReplyWriter, _ type: String
    ) async throws -> ChatAnswer {
        let begin = ContinuousClock.now
        let interval = min(limits.loadingNotice, limits.heartbeat)
        return try await withThrowingTaskGroup(of: ChatAnswer?.self) { group in
            group.addTask { try await node.answer(request, caller: caller) }
            let addTick = { (group: inout ThrowingTaskGroup<ChatAnswer?, any Error>) in
                group.addTask {
                    try await client.pause(interval)
                    return nil
                }
            }
            addTick(&group)
            defer { group.cancelAll() }
            while let first = try await group.next() {
                if let answer = first { return answer }
                addTick(&group)
                let isLoading = await node.isLoading(request.model)
                guard isLoading || ContinuousClock.now - begin >= limits.heartbeat else { continue }
                if writer.begun == nil { try await writer.openStream(HTTPFields(), type: type) }
                // Other kinds of streams know no comments.
                if isLoading, type == ContentType.eventStream { try await writer.send(events: Self.loading) }
            }
            throw CancellationError()
        }
    }

    private static let loading = Array(": loading\n\n".utf8)

    private func send<Encoder: AnswerEncoder>(
        _ answer: ChatAnswer, _ request: ChatRequest, _ exchange: Exchange, _ writer: ReplyWriter,
        _ encoder: inout Encoder
    ) async throws {
        var tally = AnswerTally(choices: request.choices, keepsText: Encoder.keepsText)
        for try await event in answer.events {
            if tally.isEmpty { metrics.firstToken(model: answer.model, after: exchange.elapsed) }
            progressed()
            try tally.add(event)
            let bytes = encoder.piece(event)
            if !bytes.isEmpty { try await writer.send(events: bytes) }
        }
        try Task.checkCancellation()
        let usage = try tally.usage()
        metrics.tokens(model: answer.model, usage)
        try await writer.send(events: encoder.closing(tally.choices, usage))
        try await writer.finish()
    }

    /// ``HTTPField/Name/replicas`` is what is known when the headers are made: of a stream, how many stores have the
    /// question.
    static func headers(of answer: ChatAnswer) async -> HTTPFields {
        var headers = HTTPFields()
        headers[.replicas] = "\(await answer.replicas())"
        headers[.conversationID] = answer.conversation?.rawValue
        // By it any host finds the answer again, should this one be gone before its end.
        headers[.stream] = answer.question.map { AnswerID.chatCompletion($0) }
        headers[.servedBy] = answer.servedBy.description
        // In every dialect, also where its replies have no room for it: how much of the conversation the model saw.
        let context = answer.context
        headers[.context] =
            "included=\(context.included), omitted=\(context.omitted), prompt_tokens=\(context.promptTokens), "
            + "context_length=\(context.contextLength)"
        headers[.routeReason] = answer.routeReason
        return headers
    }
}
