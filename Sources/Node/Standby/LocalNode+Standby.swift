package import Core
internal import Logging
internal import Swarm

/// Answers that outlive the host that was asked for them.
extension LocalNode {
    /// How an answer that begins here is told to those who stand by for it; nil where nobody is told.
    func sharing(
        _ generation: GenerationRequest, of model: String, for destination: ConversationPlan.Destination,
        at place: Place, _ fingerprint: String, _ context: ContextReport
    ) -> AnswerSharing? {
        guard let live else { return nil }
        let facts = AnswerFacts(
            model: place.model.name, fingerprint: fingerprint, servedBy: place.node,
            promptTokens: context.promptTokens, contextLength: context.contextLength, included: context.included,
            omitted: context.omitted)
        return AnswerSharing(answers: live) { question in
            StandbyRequest(
                question: question, conversation: destination.id, stream: destination.stream,
                owner: destination.owner, chain: destination.chain.state, model: model, generation: generation,
                facts: facts)
        }
    }

    // MARK: The client comes again

    /// The answer to a question as it is being written, by whichever host; nil where nobody writes it.
    func followed(_ question: Dot, of caller: Owner) async throws -> ChatAnswer? {
        guard let live else { return nil }
        let answer = await live.find(question) { [conversations] in
            guard let turn = try? await conversations.exchange(question, of: caller).answer?.turn,
                let outcome = turn.outcome, outcome.finishReason.isComplete
            else { return nil }
            return turn.message.events + [.finished(reason: outcome.finishReason, usage: outcome.usage)]
        }
        guard let answer else { return nil }
        let kept = try await conversations.exchange(question, of: caller)
        let facts = answer.facts
        return ChatAnswer(
            conversation: kept.conversation, question: question, created: kept.question.timestamp.seconds,
            model: facts.model, fingerprint: facts.fingerprint, servedBy: facts.servedBy,
            routeReason: "already on its way",
            context: ContextReport(facts),
            events: EventStream { try await answer.next().map { $0.event(of: 0) } })
    }

    package func stream(of question: Dot, for caller: Owner) async throws -> ChatAnswer {
        let kept = try await exchange(question, of: caller)
        if let turn = kept.answer?.turn, let outcome = turn.outcome, outcome.finishReason.isComplete {
            let events = turn.message.events + [.finished(reason: outcome.finishReason, usage: outcome.usage)]
            return Self.told(kept, events, outcome)
        }
        if let answer = try await followed(question, of: caller) { return answer }
        // The end may have come in between.
        let again = try await exchange(question, of: caller)
        guard let turn = again.answer?.turn, let outcome = turn.outcome else {
            throw RuntimeError(
                .unavailable, "nobody writes this answer any more, and nothing of it was kept; ask again")
        }
        guard outcome.finishReason.isComplete else {
            return Self.told(
                again, turn.message.events, outcome,
                RuntimeError(.engineFailed, "the answer broke off here; ask again for a whole one"))
        }
        let events = turn.message.events + [.finished(reason: outcome.finishReason, usage: outcome.usage)]
        return Self.told(again, events, outcome)
    }

    /// An answer that is over, told again.
    private static func told(
        _ kept: KeptExchange, _ events: [GenerationEvent], _ outcome: Turn.Outcome, _ error: RuntimeError? = nil
    ) -> ChatAnswer {
        ChatAnswer(
            conversation: kept.conversation, question: kept.question.dot, created: kept.question.timestamp.seconds,
            model: outcome.model, fingerprint: "",
            servedBy: kept.answer?.dot.origin.node ?? kept.question.dot.origin.node,
            context: ContextReport(
                promptTokens: outcome.usage.promptTokens, contextLength: 0, included: 0, omitted: 0),
            events: EventStream(events.map { $0.event(of: 0) }, throwing: error))
    }

    // MARK: The writer is gone

    /// Goes on with the answer of a host that is gone. Nobody need wait for it: it is kept when it is complete.
    package func takeUp(_ heritage: StandbyDesk.Heritage) async {
        failpoint("standby.takeup")
        let request = heritage.request
        // The writer may have come to the end, and only its word of that is lost.
        guard let kept = try? await conversations.exchange(request.question, of: request.owner), kept.answer == nil,
            await !conversations.isGivenUp(request.question, of: request.owner)
        else { return }
        let destination = ConversationPlan.Destination(
            id: request.conversation, stream: request.stream, owner: request.owner, isNew: false, dependencies: [],
            turns: [], chain: PrefixChain(state: request.chain, key: conversations.prefixKey),
            question: request.question)
        let events: GenerationStream
        var servedBy = id
        do {
            let place = try await dispatcher.begin(request.model).0
            servedBy = place.node
            events = dispatcher.goOn(heritage, at: place)
        } catch {
            // What came is kept all the same.
            events = GenerationStream(heritage.events, throwing: error)
        }
        let sharing = live.map { live in
            AnswerSharing(answers: live) { [servedBy] _ in
                var again = request
                again.facts.servedBy = servedBy
                return again
            }
        }
        let session = AnswerSession(
            choices: 1, conversations: conversations, destination: destination, model: request.facts.model,
            promptTokens: request.facts.promptTokens, answers: answers, log: log, sharing: sharing
        ) { _ in events }
        do {
            try await session.start(inBackground: true)
        } catch {
            log.error("an answer could not be taken up", metadata: ["error": "\(error)"])
            return
        }
        log.notice(
            "goes on with an answer whose host is gone",
            metadata: ["peer.id": "\(heritage.writer)", "model": "\(request.facts.model)"])
        answers.begin()
        let guardian = AnswerGuard(session, answers)
        let answer = ChatAnswer(
            conversation: request.conversation, question: request.question,
            created: kept.question.timestamp.seconds, model: request.facts.model,
            fingerprint: request.facts.fingerprint, servedBy: servedBy,
            context: ContextReport(request.facts), events: EventStream { try await guardian.next() })
        _ = await background.run(answer, of: request.question) { [conversations] in
            await conversations.isGivenUp(request.question, of: request.owner)
        }
    }
}

extension ContextReport {
    fileprivate init(_ facts: AnswerFacts) {
        self.init(
            promptTokens: facts.promptTokens, contextLength: facts.contextLength, included: facts.included,
            omitted: facts.omitted)
    }
}

extension Message {
    /// What a stream tells of it.
    var events: [GenerationEvent] {
        var events: [GenerationEvent] = []
        if let reasoning, !reasoning.isEmpty { events.append(.reasoning(reasoning)) }
        if !text.isEmpty { events.append(.text(text)) }
        for (index, call) in toolCalls.enumerated() {
            events.append(
                .toolCall(ToolCallPiece(index: index, id: call.id, name: call.name, arguments: call.arguments)))
        }
        return events
    }
}

extension GenerationEvent {
    /// As one of several answers to one request.
    func event(of choice: Int) -> ChatEvent {
        switch self {
        case .text(let text): .text(choice: choice, text)
        case .reasoning(let text): .reasoning(choice: choice, text)
        case .toolCall(let piece): .toolCall(choice: choice, piece)
        case .logprobs(let tokens): .logprobs(choice: choice, tokens)
        case .moved(let failover): .moved(choice: choice, failover)
        case .finished(let reason, let usage): .finished(choice: choice, reason: reason, usage: usage)
        }
    }
}
