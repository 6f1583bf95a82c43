package import Core
package import Logging
internal import Metrics
internal import Swarm

/// This host: answers requests, with its own models or its peers', and keeps its own conversations.
package struct LocalNode: NodeServices {
    package let id: NodeID
    package let version: String
    private let models: Models
    let conversations: Conversations
    private let writer: LogWriter
    private let store: any ContextStore
    let log: Logger
    private let wallClock: @Sendable () -> UInt64
    let dispatcher: Dispatcher
    /// Nil where no other host is told of answers.
    let live: LiveAnswers?
    let answers = OpenAnswers()
    let background = BackgroundAnswers()
    private let joined = JoinedAnswers()

    /// - Parameters:
    ///   - wallClock: milliseconds since 1970.
    ///   - dispatcher: chooses who writes answers; without one this host does, or nobody.
    ///   - live: tells others of answers, and takes up theirs.
    package init(
        id: NodeID, version: String, models: Models, conversations: Conversations, writer: LogWriter,
        store: any ContextStore, log: Logger, wallClock: @escaping @Sendable () -> UInt64,
        dispatcher: Dispatcher? = nil, live: LiveAnswers? = nil
    ) {
        self.id = id
        self.version = version
        self.models = models
        self.conversations = conversations
        self.writer = writer
        self.store = store
        self.log = log
        self.wallClock = wallClock
        self.dispatcher = dispatcher ?? Dispatcher(node: id, models: models, takesUp: false)
        self.live = live
    }

    package func answer(_ request: ChatRequest, caller: Owner) async throws -> ChatAnswer {
        guard let key = request.idempotencyKey, request.continuation != .off, request.choices == 1,
            !request.runsInBackground
        else {
            return try await answerAlone(request, caller)
        }
        let identity = JoinedAnswers.Identity(
            caller: caller, key: key, continuation: request.continuation, user: request.user)
        return try await joined.answer(identity, to: request.messages) { try await answerAlone(request, caller) }
    }

    private func answerAlone(_ request: ChatRequest, _ caller: Owner) async throws -> ChatAnswer {
        // What a retry repeats may stand already.
        var mayStand = request.isRetry
        do {
            return try await beginOrFallBack(request, caller, mayStand: &mayStand)
        } catch {
            if !mayStand { await conversations.noteUnwritten(request, caller: caller) }
            throw error
        }
    }

    /// Another model answers where the one that is asked for has one for that and cannot answer at present. The
    /// answer's fingerprint says which it was, the reason of its route for which it stands in.
    private func beginOrFallBack(
        _ request: ChatRequest, _ caller: Owner, mayStand: inout Bool
    ) async throws -> ChatAnswer {
        guard let name = models.entries.first(where: { $0.isCalled(request.model) })?.fallback else {
            return try await begin(request, caller, mayStand: &mayStand)
        }
        do {
            return try await begin(request, caller, mayStand: &mayStand)
        } catch let error as RuntimeError where error.code == .unavailable || error.code == .engineFailed {
            log.info(
                "another model answers", metadata: ["model": "\(request.model.prefix(100))", "fallback": "\(name)"])
            var second = request
            second.model = name
            var answer = try await begin(second, caller, mayStand: &mayStand)
            answer.routeReason = "fallback for \(request.model.prefix(100)): \(answer.routeReason ?? "")"
            return answer
        }
    }

    private func begin(_ request: ChatRequest, _ caller: Owner, mayStand: inout Bool) async throws -> ChatAnswer {
        let (place, engine) = try await dispatcher.begin(request.model)
        try EngineFit(engine).check(request)
        if let prompt = request.rawPrompt { return try rawAnswer(prompt, request, caller, place, engine) }
        if case .after(let question) = request.continuation, await answers.isRunning(question) {
            throw RuntimeError(
                .invalidRequest, "the previous response is still being written; wait for its end",
                parameter: "previous_response_id")
        }
        if request.runsInBackground { try await background.admit() }
        let plan = try await plan(request, caller: caller)
        mayStand = plan.destination?.question != nil
        // Before an engine works for what could not be kept.
        if plan.destination != nil, !mayStand { try pressure?.requireDisk() }
        if let question = plan.destination?.question, plan.replay == nil, request.choices == 1,
            request.idempotencyKey != nil || request.isRetry, let answer = try await followed(question, of: caller)
        {
            return answer
        }
        guard plan.destination != nil || !request.runsInBackground else {
            throw RuntimeError(
                .invalidRequest,
                "this host keeps no conversations, so an answer in the background could not be fetched",
                parameter: "background")
        }
        let window = try PromptWindow(
            instructions: plan.instructions, history: plan.history, new: plan.new,
            maximumTokens: request.maximumTokens, contextLength: engine.contextLength, cost: engine.tokenCost,
            shape: request.shape)

        if request.mustFitWhole, window.report.omitted > 0 {
            throw RuntimeError(
                .contextLengthExceeded,
                "the conversation does not fit into the model's context of \(engine.contextLength) tokens; send "
                    + "\"truncation\": \"auto\" to leave out the oldest turns")
        }

        var generation = GenerationRequest(
            messages: EngineFit(engine).readable(window.messages), maximumTokens: window.maximumTokens,
            stop: request.stop, sampling: request.sampling, shape: request.shape,
            affinity: plan.destination?.stream.bytes)
        generation.keepAlive = request.keepAlive
        generation.ticket = Ticket(request, caller)
        generation.isReadWhole = request.isReadWhole
        let prefix = PromptPrefix(generation.messages, cost: engine.tokenCost)
        let chosen = await dispatcher.choose(
            generation, of: request.model, prefix: prefix, begun: place, engine)
        let events: EventStream<ChatEvent>
        let serving = Serving(chosen)
        var replicas: @Sendable () async -> Int = { 0 }
        var question = plan.destination?.question
        var created = Int64(wallClock() / 1000)
        // One answer is stored: a client that wants several gets new ones.
        if let replay = plan.replay, request.choices == 1 {
            events = Self.replaying(replay)
        } else {
            let session = AnswerSession(
                choices: request.choices, conversations: conversations, destination: plan.destination,
                model: chosen.model.name, promptTokens: window.report.promptTokens, answers: answers, log: log,
                sharing: plan.destination.flatMap {
                    sharing(generation, of: request.model, for: $0, at: chosen, engine.fingerprint, window.report)
                }
            ) { [generation, dispatcher] choice in
                var generation = generation
                // One seed would write the same answer each time.
                generation.sampling.seed = generation.sampling.seed.map { $0 &+ UInt64(clamping: choice) }
                return dispatcher.generate(generation, of: request.model, at: chosen, prefix: prefix, telling: serving)
            }
            try await session.start(inBackground: request.runsInBackground)
            // Another answer to a question that stands: its id is the first one's.
            let isAnother = question != nil && request.idempotencyKey == nil && !request.isRetry
            question = isAnother ? nil : await session.question
            if let asked = await session.asked { created = asked.seconds }
            answers.begin()
            let guardian = AnswerGuard(session, answers)
            events = EventStream { try await guardian.next() }
            replicas = { await session.replicas }
        }
        let answer = ChatAnswer(
            conversation: plan.destination?.id, question: question, created: created,
            model: chosen.model.name,
            fingerprint: engine.fingerprint, servedBy: serving.node, routeReason: serving.reason,
            context: window.report, events: events,
            replicas: replicas)
        guard request.runsInBackground, let question else { return answer }
        return await background.run(answer, of: question) { [conversations] in
            await conversations.isGivenUp(question, of: caller)
        }
    }

    /// Goes on from a text as it stands: no conversation, no template.
    private func rawAnswer(
        _ prompt: String, _ request: ChatRequest, _ caller: Owner, _ place: Place, _ engine: EngineDescription
    ) throws -> ChatAnswer {
        let tokens = engine.tokenCost.tokens(ofBytes: prompt.utf8.count)
        guard tokens < engine.contextLength else {
            throw RuntimeError(
                .contextLengthExceeded,
                "the prompt takes \(tokens) tokens, the model's context is \(engine.contextLength); shorten it",
                parameter: "prompt")
        }
        let room = engine.contextLength - tokens
        var generation = GenerationRequest(
            messages: [], maximumTokens: max(1, min(request.maximumTokens ?? room, room)), stop: request.stop,
            sampling: request.sampling, shape: request.shape)
        generation.rawPrompt = prompt
        generation.keepAlive = request.keepAlive
        generation.ticket = Ticket(request, caller)
        generation.isReadWhole = request.isReadWhole
        let session = AnswerSession(
            choices: request.choices, conversations: conversations, destination: nil, model: place.model.name,
            promptTokens: tokens, answers: answers, log: log
        ) { [generation, dispatcher] choice in
            var generation = generation
            generation.sampling.seed = generation.sampling.seed.map { $0 &+ UInt64(clamping: choice) }
            return dispatcher.generate(generation, of: request.model, at: place, telling: Serving(place))
        }
        return ChatAnswer(
            conversation: nil, created: Int64(wallClock() / 1000), model: place.model.name,
            fingerprint: engine.fingerprint, servedBy: place.node, routeReason: place.reason,
            context: ContextReport(
                promptTokens: tokens, contextLength: engine.contextLength, included: 0, omitted: 0),
            events: EventStream { try await session.next() })
    }

    /// Returns once every answer that had begun is kept, or given up: the store may be closed then. An answer whose
    /// reader holds on to it is waited for.
    package func settle() async {
        await answers.close()
        await background.cancelAll()
        await answers.none()
    }

    package var pressure: Pressure? { writer.pressure }

    package func models() async -> [ModelStatus] { await models.statuses() }

    package func explainRoute(of model: String) async throws -> RouteReport { try await dispatcher.explain(model) }

    package func measureModels() async { await models.measure() }

    package func prepare(_ model: String, keepAlive: KeepAlive?, patience: Duration?) async throws {
        // What others have is theirs to load.
        guard let entry = try? models.entry(named: model) else { return }
        if keepAlive == nil {
            if await models.isThere(entry) { return }
            // One that has it loaded answers sooner.
            if let first = await dispatcher.places(for: model).first, !dispatcher.isHere(first) { return }
        }
        try await models.prepare(entry, keepAlive: keepAlive, patience: patience)
    }

    package func isLoading(_ model: String) async -> Bool {
        guard let entry = try? models.entry(named: model) else { return false }
        return await models.isLoading(entry)
    }

    package func drain(on: Bool?) async -> DrainReport {
        if let on {
            models.drain.turn(on: on)
            log.notice(on ? "gives its work away" : "takes work again")
        }
        let models = await models.statuses()
        return DrainReport(
            isOn: self.models.drain.isOn, running: models.reduce(0) { $0 + $1.running },
            waiting: models.reduce(0) { $0 + $1.waiting })
    }

    package func embed(_ texts: [String], model: String) async throws -> Embeddings {
        try await dispatcher.begin(model).0.engine.embed(texts)
    }

    package func countTokens(_ request: ChatRequest, caller: Owner) async throws -> TokenCount {
        let (place, description) = try await dispatcher.begin(request.model)
        var prompt = request.messages
        switch request.continuation {
        case .after, .conversation:
            let plan = try await plan(request, caller: caller)
            prompt = plan.instructions + plan.history + plan.new
        case .automatic, .new, .off:
            if let passing = request.instructions { prompt.insert(Message(.system, passing), at: 0) }
        }
        let messages = EngineFit(description).readable(prompt)
        if let count = try await place.engine.countTokens(of: messages, shape: request.shape) {
            return TokenCount(tokens: count, isExact: true)
        }
        let cost = description.tokenCost
        return TokenCount(
            tokens: cost.tokens(of: messages) + cost.tokens(ofBytes: request.shape.promptBytes), isExact: cost.isExact)
    }

    package func conversations(of caller: Owner, limit: Int) async throws -> [ConversationHeader] {
        try await conversations.list(of: caller, limit: limit)
    }

    package func conversation(_ id: ConversationID, of caller: Owner) async throws -> ConversationView {
        try await conversations.view(id, of: caller)
    }

    package func storeStatistics() async throws -> StoreStatistics {
        await writer.catchUp()
        var statistics = try await store.statistics()
        if !conversations.retention.isOff { statistics.expired = await conversations.expired }
        return statistics
    }

    package func readiness() async -> Readiness {
        var reasons: [String] = []
        var isReady = true
        if let failure = await writer.failure {
            isReady = false
            reasons.append("conversations are not kept: \(failure.message)")
        } else if let refusal = await writer.lastRefusal {
            isReady = false
            reasons.append("turns could not be written: \(refusal.message)")
        }
        let damage = await writer.damageReport
        if damage.operations > 0 {
            reasons.append(
                "\(damage.operations) operations of this host's store are damaged: they are put right as soon as a "
                    + "host that has them is linked; igris-runtime verify names them")
        }
        if models.drain.isOn {
            isReady = false
            reasons.append("this host gives its work away; igris-runtime drain --off takes it back")
        }
        if let pressure {
            if pressure.isDiskLow || pressure.isMemoryLow { isReady = false }
            reasons += pressure.reasons
        }
        var serving = 0
        for model in await models.statuses() {
            switch model.state {
            // One that is loaded on demand answers, if later.
            case .ready, .unloaded, .loading: serving += 1
            case .starting: reasons.append("model \(model.name) is starting")
            case .stopped: reasons.append("model \(model.name) has been stopped")
            case .restarting(let reason), .quarantined(let reason, _):
                reasons.append("model \(model.name) is \(model.state.word): \(reason)")
            }
        }
        return Readiness(isReady: isReady && serving > 0, reasons: reasons)
    }

    /// While the store cannot be read (wrong key, damaged, of a newer version), requests that name no conversation are
    /// answered all the same, without memory.
    private func plan(_ request: ChatRequest, caller: Owner) async throws -> ConversationPlan {
        do {
            return try await conversations.plan(request, caller: caller)
        } catch let error as RuntimeError where error.code != .invalidRequest {
            guard let failure = await writer.failure else { throw error }
            guard request.continuation == .automatic || request.continuation == .new, !request.runsInBackground
            else {
                throw RuntimeError(
                    .unavailable, "this conversation cannot be continued now: \(failure.message)", cause: failure)
            }
            var unkept = request
            unkept.continuation = .off
            return try await conversations.plan(unkept, caller: caller)
        }
    }

    private static func replaying(_ answer: Transcript.Answer) -> EventStream<ChatEvent> {
        let events =
            answer.message.events + [.finished(reason: answer.outcome.finishReason, usage: answer.outcome.usage)]
        return EventStream(events.map { $0.event(of: 0) })
    }
}
