package import Core
internal import Cryptography
internal import Swarm

/// What is kept, one exchange at a time (``ConversationServices``).
extension Conversations {
    /// Where a turn is: the conversation as this host knows it.
    struct Place {
        var header: ConversationHeader
        var state: ConversationState
    }

    static let unknownExchange = RuntimeError(.notFound, "there is nothing of that id for this caller")

    /// Finds the conversation of a turn by the turn alone: its operation names its stream. Throws ``RuntimeError``
    /// `.notFound` also for someone else's; nil: whoever's it is.
    func place(of turn: Dot, _ caller: Owner?) async throws -> Place {
        try requireKeeping()
        if let failure = await writer.failure { throw failure }
        await catchUp()
        var stream = recentStreams[turn]
        if stream == nil, turn.sequence > 0 {
            let found = try await store.operations(of: turn.origin, after: turn.sequence - 1, limit: 1)
            stream = found.first.flatMap { $0.dot == turn ? $0.stream : nil }
        }
        if let stream { await expiryOver(of: stream) }
        guard let stream, let header = try await header(of: stream), caller == nil || header.owner == caller else {
            throw Self.unknownExchange
        }
        return Place(header: header, state: try await state(of: stream))
    }

    func place(of id: ConversationID, _ caller: Owner) async throws -> Place {
        try requireKeeping()
        let stream = Self.stream(of: id, owner: caller)
        await expiryOver(of: stream)
        guard let header = try await header(of: stream) else { throw Self.unknownConversation }
        return Place(header: header, state: try await state(of: stream))
    }

    package func exchange(_ question: Dot, of caller: Owner) async throws -> KeptExchange {
        let place = try await place(of: question, caller)
        guard let exchange = place.state.exchange(asked: question),
            let kept = Self.kept(exchange, place)
        else { throw Self.unknownExchange }
        return kept
    }

    package func path(to question: Dot, of caller: Owner) async throws -> [ConversationTurn] {
        let place = try await place(of: question, caller)
        guard let exchange = place.state.exchange(asked: question) else { throw Self.unknownExchange }
        return place.state.path(to: [exchange.question]).compactMap { Self.turn($0, place.state) }
    }

    package func exchanges(
        of caller: Owner, where isWanted: @Sendable (JSON) -> Bool
    ) async throws -> [KeptExchange] {
        var found: [KeptExchange] = []
        for header in try await list(of: caller, limit: Limits.conversationsSearched) {
            try Task.checkCancellation()
            let place = Place(header: header, state: try await state(of: header.stream))
            found += place.state.transcript.exchanges.compactMap { exchange in
                guard let annotation = place.state.turn(exchange.question)?.turn.annotation, isWanted(annotation)
                else { return nil }
                return Self.kept(exchange, place)
            }
        }
        return found.sorted { $0.question.timestamp > $1.question.timestamp }
    }

    package func exchanges(in id: ConversationID, of caller: Owner) async throws -> [KeptExchange] {
        let place = try await place(of: id, caller)
        return place.state.transcript.exchanges.compactMap { Self.kept($0, place) }
    }

    package func deleteExchange(_ question: Dot, turns: Int, of caller: Owner) async throws {
        let place = try await place(of: question, caller)
        guard let exchange = place.state.exchange(asked: question) else { throw Self.unknownExchange }
        let asked = place.state.path(to: [exchange.question]).suffix(max(1, turns))
        try await erase(Array(asked) + place.state.answers(to: exchange.question), place, withAnswers: true)
    }

    package func deleteTurn(_ turn: Dot, of id: ConversationID, of caller: Owner) async throws {
        let place = try await place(of: id, caller)
        guard let operation = place.state.turn(turn) else { throw Self.unknownExchange }
        var gone = [turn]
        if operation.turn.message.role == .assistant, let question = place.state.question(of: turn) {
            gone = place.state.answers(to: question)
        }
        try await erase(gone, place)
    }

    private func erase(_ turns: [Dot], _ place: Place, withAnswers: Bool = false) async throws {
        // An operation names so many dependencies at most.
        let drafts = stride(from: 0, to: turns.count, by: Limits.operationDependencies).map { start in
            OperationLog.Draft(
                kind: .erase, stream: place.header.stream,
                dependencies: Array(turns[start..<min(turns.count, start + Limits.operationDependencies)]),
                body: withAnswers ? [1] : [])
        }
        for draft in drafts { _ = try await write(LogWriter.Entry(drafts: [draft]), to: place.header.stream) }
    }

    /// Describes a conversation, which begins with that if there is none.
    package func describe(
        _ id: ConversationID, metadata: JSON, of caller: Owner
    ) async throws -> ConversationRecord {
        try requireKeeping()
        let stream = Self.stream(of: id, owner: caller)
        let meta = ConversationMeta(id: id, owner: caller, metadata: metadata)
        let draft = OperationLog.Draft(
            kind: .conversationMeta, stream: stream, dependencies: try await state(of: stream).deletes,
            body: TurnCodec.encode(meta))
        _ = try await write(LogWriter.Entry(drafts: [draft]), to: stream)
        return try await record(of: id, of: caller)
    }

    package func record(of id: ConversationID, of caller: Owner) async throws -> ConversationRecord {
        let place = try await place(of: id, caller)
        return ConversationRecord(id: id, created: place.header.created, metadata: place.state.metadata)
    }

    /// Says something of a turn: it keeps its words, and this stands beside them on every host.
    func note(_ note: TurnNote, on turn: Dot, of caller: Owner) async throws {
        let place = try await place(of: turn, caller)
        guard place.state.turn(turn) != nil else { throw Self.unknownExchange }
        let meta = ConversationMeta(id: place.header.id, owner: caller, note: note)
        let draft = OperationLog.Draft(
            kind: .conversationMeta, stream: place.header.stream, dependencies: [turn], body: TurnCodec.encode(meta))
        _ = try await write(LogWriter.Entry(drafts: [draft]), to: place.header.stream)
    }

    /// Whether nobody wants the answer to `question` any more: somebody has cancelled it, or deleted what was asked.
    func isGivenUp(_ question: Dot, of caller: Owner) async -> Bool {
        do {
            let state = try await place(of: question, caller).state
            return state.isCancelled(question) || state.turn(question) == nil
        } catch {
            return (error as? RuntimeError)?.code == .notFound
        }
    }

    /// Adds what was said elsewhere.
    package func append(
        _ messages: [Message], to id: ConversationID, of caller: Owner
    ) async throws -> [ConversationTurn] {
        let place = try await place(of: id, caller)
        var destination = ConversationPlan.Destination(
            id: id, stream: place.header.stream, owner: caller, isNew: false,
            dependencies: place.state.nextDependencies, turns: [], chain: PrefixChain(owner: caller, key: prefixKey))
        Self.add(messages, messages.map { _ in nil }, key: nil, nil, to: &destination)
        guard !destination.turns.isEmpty else { return [] }
        let last = try await writeQuestion(destination).question
        let state = try await state(of: place.header.stream)
        // This host's next ones, as they were given.
        let first = last.sequence &- UInt64(messages.count - 1)
        return (first...max(first, last.sequence)).compactMap {
            Self.turn(Dot(origin: last.origin, sequence: $0), state)
        }
    }

    // MARK: - A new turn after an exchange

    /// Goes on from one exchange, whatever else was said after it: the prompt holds what led there and nothing else.
    func following(
        _ question: Dot, _ request: ChatRequest, _ given: [Message], _ dialogue: [Message], _ caller: Owner
    ) async throws -> ConversationPlan {
        let place: Place
        let exchange: Transcript.Exchange
        do {
            place = try await self.place(of: question, caller)
            guard let found = place.state.exchange(asked: question) else { throw Self.unknownExchange }
            exchange = found
        } catch let error as RuntimeError where error.code == .notFound {
            throw RuntimeError(
                .notFound, "the previous response is not here: it was deleted, never stored, or has not arrived yet",
                parameter: "previous_response_id")
        }
        let end = exchange.answer?.dot ?? exchange.question
        let before = place.state.transcript(upTo: [end])
        let instructions = before.exchanges.filter { $0.message.role == .system }.map(\.message) + given
        let key = requestKey(request, caller)
        let whole = place.state.transcript
        var repeated = try key.flatMap { key throws(RuntimeError) in
            try Self.same(whole.exchange(requestKey: key), as: dialogue.last)
        }
        if repeated == nil, key == nil, request.isRetry {
            repeated = whole.exchanges.last {
                $0.message == dialogue.last && place.state.path(to: [$0.question]).contains(end)
                    && place.state.turn($0.question)?.turn.annotation == request.annotation
            }
        }
        if let repeated {
            return repeating(
                repeated, place.header.id, place.header.stream, caller, instructions, before, dialogue, replays: true)
        }
        var chain = PrefixChain(owner: caller, key: prefixKey)
        for message in before.messages { _ = chain.advance(over: message) }
        let hashes: [PrefixHash?] = dialogue.map { chain.advance(over: $0) }
        var destination = ConversationPlan.Destination(
            id: place.header.id, stream: place.header.stream, owner: caller, isNew: false, dependencies: [end],
            turns: given.map { Turn(message: $0) }, chain: chain, question: nil)
        Self.add(dialogue, hashes, key: key, request.annotation, to: &destination)
        return ConversationPlan(
            destination: destination, instructions: instructions, history: before.messages + dialogue.dropLast(),
            new: dialogue.suffix(1), replay: nil)
    }

    /// A request that begins a conversation of its own and was sent again without a key: among the caller's latest
    /// ones, the same question with the same notes.
    func recentlyAsked(
        _ request: ChatRequest, _ dialogue: [Message], _ caller: Owner
    ) async throws -> (place: Place, exchange: Transcript.Exchange)? {
        guard request.annotation != nil else { return nil }
        for header in try await list(of: caller, limit: 8) {
            let state = try await state(of: header.stream)
            guard let last = state.transcript.lastQuestion, last.message == dialogue.last,
                state.turn(last.question)?.turn.annotation == request.annotation
            else { continue }
            return (Place(header: header, state: state), last)
        }
        return nil
    }

    /// Throws where a key that was used before comes with other words.
    static func same(
        _ exchange: Transcript.Exchange?, as message: Message?
    ) throws(RuntimeError) -> Transcript.Exchange? {
        guard let exchange else { return nil }
        guard exchange.message == message else { throw reusedKey }
        return exchange
    }

    static let reusedKey = RuntimeError(
        .invalidRequest, "this Idempotency-Key was used for another request; send a new one with a new request",
        parameter: "Idempotency-Key")

    // MARK: - Parts

    private static func turn(_ dot: Dot, _ state: ConversationState) -> ConversationTurn? {
        state.turn(dot).map { ConversationTurn(dot: dot, timestamp: $0.timestamp, turn: $0.turn) }
    }

    private static func kept(_ exchange: Transcript.Exchange, _ place: Place) -> KeptExchange? {
        guard let question = turn(exchange.question, place.state) else { return nil }
        return KeptExchange(
            conversation: place.header.id, question: question,
            answer: exchange.answer.flatMap { turn($0.dot, place.state) }, progress: .over)
    }
}
