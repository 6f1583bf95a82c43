package import Core
package import Cryptography
internal import Swarm

/// Finds the conversation that a request belongs to, and keeps what is said in it (design.md §3).
package actor Conversations {
    /// What is kept and recalled unless a request says otherwise (`mcp.enabled`, `mcp.default_conversation`).
    package enum Policy: Sendable {
        /// A request that names no conversation continues the caller's default one.
        case always
        /// Only conversations that the client names.
        case named
        /// Every request stands alone.
        case never
    }

    let store: any ContextStore
    let writer: LogWriter
    package let retention: Retention
    let prefixKey: SymmetricKey
    private let policy: Policy
    private var cache = ConversationCache()
    private var reads: [StreamID: Read] = [:]
    private var unwritten = UnwrittenRequests()
    /// How many answers are on their way.
    private(set) var open: [StreamID: Int] = [:]
    /// Being deleted because their time is over.
    var expiring: Set<StreamID> = []
    var waitingForExpiry: [CheckedContinuation<Void, Never>] = []
    /// Since the start, by this host.
    package internal(set) var expired = 0
    /// Where the latest turns belong: they may not be on disk yet.
    private(set) var recentStreams = RecentStreams()
    /// What the store took is known up to here.
    private var newsNumber: UInt64 = 0
    /// Rises when some of it was missed.
    private var generation = 0

    /// A conversation being read from the store, and what is written to it meanwhile: the rows may be older.
    private struct Read {
        var readers = 0
        var written: [Operation] = []
    }

    /// - Parameters:
    ///   - prefixKey: secret of this store, for ``PrefixChain``.
    ///   - policy: what is recalled and kept at all.
    ///   - retention: what is kept for how long.
    package init(
        store: any ContextStore, writer: LogWriter, prefixKey: SymmetricKey, policy: Policy,
        retention: Retention = Retention()
    ) {
        // Shown from the start, though nothing may ever expire.
        for reason in Retention.Reason.allCases { _ = Self.counter(reason) }
        self.retention = retention
        self.store = store
        self.writer = writer
        self.prefixKey = prefixKey
        self.policy = policy
    }

    /// Decides what `request` means. Throws ``RuntimeError``; `.wrongKey` while the store is locked.
    package func plan(_ request: ChatRequest, caller: Owner) async throws -> ConversationPlan {
        var request = request
        if !unwritten.isEmpty, unwritten.remove(identity(of: request, caller)) { request.isRetry = false }
        let instructions = request.messages.filter { $0.role == .system }
        let dialogue = request.messages.filter { $0.role != .system }
        guard let last = dialogue.last else {
            throw RuntimeError(
                .invalidRequest, "messages holds no message of a user; add one with role user", parameter: "messages")
        }
        guard last.role != .assistant else {
            throw RuntimeError(
                .invalidRequest, "the last message is the assistant's; end messages with one of role user",
                parameter: "messages")
        }
        var plan = try await plan(request, instructions, dialogue, last, caller)
        if !request.keeps {
            plan.destination = nil
            plan.replay = nil
        }
        if let passing = request.instructions { plan.instructions.insert(Message(.system, passing), at: 0) }
        return plan
    }

    private func plan(
        _ request: ChatRequest, _ instructions: [Message], _ dialogue: [Message], _ last: Message, _ caller: Owner
    ) async throws -> ConversationPlan {
        switch policy == .never ? .off : request.continuation {
        case .off: return Self.unkept(instructions, dialogue, last)
        case .after(let question): return try await following(question, request, instructions, dialogue, caller)
        case .new: return try await recognising(request, instructions, dialogue, caller)
        case .conversation(let id):
            return try await continuing(id, request, instructions, dialogue, caller)
        case .automatic:
            guard policy == .always else { return Self.unkept(instructions, dialogue, last) }
            let isWholeHistory = dialogue.count > 1
            if isWholeHistory { return try await recognising(request, instructions, dialogue, caller) }
            return try await continuing(Self.defaultID(request.user), request, instructions, dialogue, caller)
        }
    }

    /// Says that `request` failed and nothing of it was written.
    package func noteUnwritten(_ request: ChatRequest, caller: Owner) {
        guard request.continuation != .off else { return }
        unwritten.insert(identity(of: request, caller))
    }

    private func identity(of request: ChatRequest, _ caller: Owner) -> UnwrittenRequests.Identity {
        var chain = PrefixChain(owner: caller, key: prefixKey)
        var history = PrefixHash(rawValue: 0)
        for message in request.messages { history = chain.advance(over: message) }
        return UnwrittenRequests.Identity(
            owner: caller, continuation: request.continuation, user: request.user, history: history)
    }

    /// The prompt of a request of which nothing is recalled or kept.
    package static func unkept(
        _ instructions: [Message], _ dialogue: [Message], _ last: Message
    ) -> ConversationPlan {
        ConversationPlan(
            destination: nil, instructions: instructions, history: dialogue.dropLast(), new: [last], replay: nil)
    }

    /// Writes the client's turns of a plan. Returns the question's dot once it is safe, and how many stores have it;
    /// 0 for one that was written before; else also when.
    package func recordQuestion(
        _ destination: ConversationPlan.Destination
    ) async throws -> (question: Dot, replicas: Int, asked: HybridTimestamp?) {
        open[destination.stream, default: 0] += 1
        do {
            return try await writeQuestion(destination)
        } catch {
            close(destination.stream)
            throw error
        }
    }

    /// Its answer is kept, or never will be.
    private func close(_ stream: StreamID) {
        guard let count = open[stream] else { return }
        open[stream] = count > 1 ? count - 1 : nil
    }

    /// The same without an answer to come: nothing is open after it.
    func writeQuestion(
        _ destination: ConversationPlan.Destination
    ) async throws -> (question: Dot, replicas: Int, asked: HybridTimestamp?) {
        if let question = destination.question { return (question, 0, nil) }
        var drafts: [OperationLog.Draft] = []
        if destination.isNew {
            let meta = ConversationMeta(id: destination.id, owner: destination.owner)
            drafts.append(
                OperationLog.Draft(
                    kind: .conversationMeta, stream: destination.stream, dependencies: destination.deletes,
                    body: TurnCodec.encode(meta)))
        }
        let offset = drafts.count
        for turn in destination.turns {
            drafts.append(
                OperationLog.Draft(
                    kind: turn.message.role == .assistant ? .assistantTurn : .userTurn, stream: destination.stream,
                    dependencies: drafts.count == offset ? destination.dependencies : [],
                    body: TurnCodec.encode(turn)))
        }
        let written = try await write(LogWriter.Entry(drafts: drafts), to: destination.stream)
        guard let question = written.operations.last else {
            throw RuntimeError(.internal, "a request had nothing to write")
        }
        return (question.dot, written.replicas, question.timestamp)
    }

    /// Writes the answer to `question`. Returns once it is safe, with how many stores have it.
    package func recordAnswer(
        _ message: Message, outcome: Turn.Outcome, to question: Dot, of destination: ConversationPlan.Destination
    ) async throws -> Int {
        defer { close(destination.stream) }
        var chain = destination.chain
        let turn = Turn(message: message, outcome: outcome, history: chain.advance(over: message))
        let draft = OperationLog.Draft(
            kind: .assistantTurn, stream: destination.stream, dependencies: [question], body: TurnCodec.encode(turn))
        return try await write(LogWriter.Entry(drafts: [draft]), to: destination.stream).replicas
    }

    /// Removes all that was said in a conversation, here and on every host that hears of it; what others say in it at
    /// the same time goes too. Returns the delete's dot once it is safe: who holds that has done it.
    ///
    /// Throws ``RuntimeError`` `.notFound` also for a conversation of someone else.
    package func delete(_ id: ConversationID, of owner: Owner) async throws -> Dot {
        try requireKeeping()
        let stream = Self.stream(of: id, owner: owner)
        guard try await writer.header(of: stream) != nil else { throw Self.unknownConversation }
        let heads: [Dot]
        do {
            heads = try await state(of: stream).nextDependencies
        } catch let error as RuntimeError where error.code == .damaged {
            // A delete takes all that does not follow it, whatever it names itself.
            heads = []
        }
        let draft = OperationLog.Draft(kind: .delete, stream: stream, dependencies: heads, body: [])
        guard let delete = try await write(LogWriter.Entry(drafts: [draft]), to: stream).operations.last else {
            throw RuntimeError(.internal, "a delete was not written")
        }
        return delete.dot
    }

    static let unknownConversation = RuntimeError(
        .notFound, "there is no conversation of that id for this caller")

    /// Throws ``RuntimeError`` `.notFound` also for a conversation of someone else.
    package func view(_ id: ConversationID, of owner: Owner) async throws -> ConversationView {
        try requireKeeping()
        let stream = Self.stream(of: id, owner: owner)
        guard let header = try await header(of: stream) else { throw Self.unknownConversation }
        let state = try await state(of: stream)
        let turns = state.dots.compactMap { dot in
            state.turn(dot).map { ConversationTurn(dot: dot, timestamp: $0.timestamp, turn: $0.turn) }
        }
        var digest = SHA256()
        for turn in turns {
            var writer = ByteWriter()
            writer.put(turn.dot)
            writer.put(lengthPrefixed: TurnCodec.encode(turn.turn))
            digest.update(writer.bytes)
        }
        return ConversationView(
            header: header, turns: turns, branches: state.heads.count, digest: digest.finish().hex)
    }

    /// The caller's conversations, the latest first.
    package func list(of owner: Owner, limit: Int) async throws -> [ConversationHeader] {
        try requireKeeping()
        await writer.catchUp()
        return try await store.conversations(of: owner, limit: limit)
    }

    func requireKeeping() throws(RuntimeError) {
        guard policy == .never else { return }
        throw RuntimeError(.notFound, "this host keeps no conversations: mcp.enabled is false in its settings")
    }

    // MARK: - The three ways of continuing

    /// A named or default conversation: its history is the prompt's.
    private func continuing(
        _ id: ConversationID, _ request: ChatRequest, _ instructions: [Message], _ dialogue: [Message], _ caller: Owner
    ) async throws -> ConversationPlan {
        let stream = Self.stream(of: id, owner: caller)
        await expiryOver(of: stream)
        let isNew = try await header(of: stream) == nil
        let state = try await state(of: stream)
        let transcript = state.transcript
        // Instructions stay with a conversation that was named. The default one is shared by whatever talks bare: there
        // they hold for their own request only.
        let standing = request.continuation == .automatic ? nil : transcript.instructions
        let given = instructions.last
        let instructions = instructions.isEmpty ? standing.map { [$0] } ?? [] : instructions
        let key = requestKey(request, caller)
        if let known = try Self.retried(request, dialogue, transcript, key) {
            return repeating(known, id, stream, caller, instructions, transcript, dialogue, replays: true)
        }

        // A client may send again what is stored already; only what follows is new.
        let overlap = transcript.overlap(with: request.asksAnew ? dialogue.dropLast() : dialogue)
        if overlap == dialogue.count, let unanswered = transcript.lastQuestion {
            // Not a word was answered, so it is no replay that is wanted.
            return repeating(unanswered, id, stream, caller, instructions, transcript, dialogue, replays: false)
        }
        var known = overlap
        var history = transcript.messages
        var dependencies = state.nextDependencies
        if overlap == 0, dialogue.count > 1 {
            // Or it goes back to where it wants another answer, or says something else: a branch.
            let said = transcript.said
            let common = transcript.agreement(with: request.asksAnew ? dialogue.dropLast() : dialogue)
            if common == dialogue.count,
                let asked = transcript.exchanges.first(where: { $0.question == said[common - 1].dot })
            {
                return repeating(asked, id, stream, caller, instructions, transcript, dialogue, replays: false)
            }
            if common > 1 {
                known = common
                history = said.prefix(common).map(\.message)
                dependencies = [said[common - 1].dot]
            }
        }
        let fresh = Array(dialogue.dropFirst(known))
        var chain = PrefixChain(owner: caller, key: prefixKey)
        let hashes = Self.recognisable(dialogue.map { chain.advance(over: $0) })
        var destination = ConversationPlan.Destination(
            id: id, stream: stream, owner: caller, isNew: isNew, dependencies: dependencies, deletes: state.deletes,
            turns: [], chain: chain, question: nil)
        if request.continuation != .automatic, let given, given != standing {
            destination.turns.append(Turn(message: given))
        }
        Self.add(fresh, Array(hashes.dropFirst(known)), key: key, request.annotation, to: &destination)
        return ConversationPlan(
            destination: destination, instructions: instructions, history: history + fresh.dropLast(),
            new: fresh.suffix(1), replay: nil)
    }

    /// A history that the client manages: nothing is injected; what is known of it is not written again.
    private func recognising(
        _ request: ChatRequest, _ instructions: [Message], _ dialogue: [Message], _ caller: Owner
    ) async throws -> ConversationPlan {
        if let failure = await writer.failure { throw failure }
        var chain = PrefixChain(owner: caller, key: prefixKey)
        let hashes = dialogue.map { chain.advance(over: $0) }
        let key = requestKey(request, caller)
        let keyed = request.asksAnew ? key.map { ConversationID("conv_", hexOf: $0.bytes.prefix(12)) } : nil
        if request.asksAnew, let again = try await askedAgain(request, dialogue, hashes, key, keyed, caller) {
            return repeating(
                again.exchange, again.place.header.id, again.place.header.stream, caller, instructions,
                again.place.state.transcript, dialogue, replays: true)
        }
        let sought = Self.recognisable(request.asksAnew ? hashes.dropLast() : hashes)
        let match = try await writer.firstMatch(of: sought.compactMap(\.self).reversed())
        let known = match.flatMap { match in hashes.firstIndex(of: match.prefix).map { $0 + 1 } } ?? 0

        var plan = Self.unkept(instructions, dialogue, dialogue[dialogue.count - 1])
        if let match { await expiryOver(of: match.stream) }
        guard let match, known > 0, let header = try await writer.header(of: match.stream) else {
            let id = try keyed ?? ConversationID("conv_", hexOf: SecureRandom.bytes(12))
            var destination = ConversationPlan.Destination(
                id: id, stream: Self.stream(of: id, owner: caller), owner: caller, isNew: true, dependencies: [],
                turns: instructions.suffix(request.continuation == .new ? instructions.count : 1).map {
                    Turn(message: $0)
                },
                chain: chain, question: nil)
            Self.add(dialogue, Self.recognisable(hashes), key: key, request.annotation, to: &destination)
            plan.destination = destination
            return plan
        }
        var destination = ConversationPlan.Destination(
            id: header.id, stream: match.stream, owner: caller, isNew: false, dependencies: [match.dot], turns: [],
            chain: chain, question: nil)
        if known == dialogue.count {
            destination.question = match.dot
            if request.isRetry || key != nil {
                let transcript = try await state(of: match.stream).transcript
                // Another key with the same history asks for another answer.
                let exchange =
                    if let key {
                        try Self.same(transcript.exchange(requestKey: key), as: dialogue.last)
                    } else {
                        transcript.exchanges.last { $0.question == match.dot }
                    }
                if let exchange, exchange.message == dialogue.last { plan.replay = exchange.completeAnswer }
            }
        } else {
            Self.add(
                Array(dialogue.dropFirst(known)), Array(hashes.dropFirst(known)), key: key, request.annotation,
                to: &destination)
        }
        plan.destination = destination
        return plan
    }

    /// The exchange of a request that was sent before and begins a conversation of its own.
    private func askedAgain(
        _ request: ChatRequest, _ dialogue: [Message], _ hashes: [PrefixHash], _ key: Bytes16?,
        _ keyed: ConversationID?, _ caller: Owner
    ) async throws -> (place: Place, exchange: Transcript.Exchange)? {
        guard let key, let keyed else {
            return request.isRetry ? try await recentlyAsked(request, dialogue, caller) : nil
        }
        var headers: [ConversationHeader] = []
        if let header = try await writer.header(of: Self.stream(of: keyed, owner: caller)) { headers.append(header) }
        if let match = try await writer.firstMatch(of: Self.recognisable(hashes).compactMap(\.self).reversed()),
            let header = try await writer.header(of: match.stream)
        {
            headers.append(header)
        }
        for header in headers {
            let state = try await state(of: header.stream)
            let known = state.transcript.exchange(requestKey: key)
            if let exchange = try Self.same(known, as: dialogue.last) {
                return (Place(header: header, state: state), exchange)
            }
        }
        return nil
    }

    /// The same request again: its question stands already; its answer is given again, or given now.
    func repeating(
        _ exchange: Transcript.Exchange, _ id: ConversationID, _ stream: StreamID, _ owner: Owner,
        _ instructions: [Message], _ transcript: Transcript, _ dialogue: [Message], replays: Bool
    ) -> ConversationPlan {
        var chain = PrefixChain(owner: owner, key: prefixKey)
        for message in dialogue { _ = chain.advance(over: message) }
        let before = transcript.messages(before: exchange.question)
        return ConversationPlan(
            destination: ConversationPlan.Destination(
                id: id, stream: stream, owner: owner, isNew: false, dependencies: [], turns: [],
                chain: chain, question: exchange.question),
            instructions: instructions, history: before, new: [exchange.message],
            replay: replays ? exchange.completeAnswer : nil)
    }

    // MARK: - Parts

    private static func retried(
        _ request: ChatRequest, _ dialogue: [Message], _ transcript: Transcript, _ key: Bytes16?
    ) throws(RuntimeError) -> Transcript.Exchange? {
        // A key tells for certain; what else is said alike is another request.
        if let key { return try same(transcript.exchange(requestKey: key), as: dialogue.last) }
        guard request.isRetry, let last = transcript.lastQuestion, last.message == dialogue.last else { return nil }
        return last
    }

    /// One message alone (`Hello`) says nothing about which conversation this is.
    private static func recognisable(_ hashes: [PrefixHash]) -> [PrefixHash?] {
        hashes.enumerated().map { $0.offset == 0 ? nil : $0.element }
    }

    static func add(
        _ messages: [Message], _ hashes: [PrefixHash?], key: Bytes16?, _ annotation: JSON?,
        to destination: inout ConversationPlan.Destination
    ) {
        for (index, message) in messages.enumerated() {
            var turn = Turn(message: message, history: hashes[index])
            if message.role == .assistant {
                // Written elsewhere: what it cost is not known here.
                turn.outcome = Turn.Outcome(
                    finishReason: .stop,
                    usage: TokenUsage(promptTokens: 0, completionTokens: 0, isExact: false), model: "")
            } else if index == messages.count - 1 {
                turn.requestKey = key
                turn.annotation = annotation
            }
            destination.turns.append(turn)
        }
    }

    func header(of stream: StreamID) async throws -> ConversationHeader? {
        do {
            return try await writer.header(of: stream)
        } catch {
            throw await damaged(stream, error)
        }
    }

    func state(of stream: StreamID) async throws -> ConversationState {
        while true {
            await catchUp()
            if let state = cache.state(of: stream) { return state }
            let generation = generation
            reads[stream, default: Read()].readers += 1
            let stored: [Operation]
            do {
                stored = try await store.operations(of: stream)
            } catch {
                _ = endRead(of: stream)
                throw await damaged(stream, error)
            }
            await catchUp()
            let written = endRead(of: stream)
            // Something was missed meanwhile: the rows may lack it.
            guard generation == self.generation else { continue }
            // Another reader was first, and what was written since has been added to what it left.
            if let state = cache.state(of: stream) { return state }
            var state = ConversationState(stored)
            state.apply(written)
            cache.keep(state, for: stream)
            return state
        }
    }

    /// A conversation with a hole is not shown, and not continued: what it is about might be in the hole.
    private func damaged(_ stream: StreamID, _ error: any Error) async -> any Error {
        guard (error as? RuntimeError)?.code == .corrupt else { return error }
        await writer.hurryScrub()
        return RuntimeError(
            .damaged,
            "this conversation is damaged in this host's store and is not shown with a hole: it is put right from "
                + "another host's copy as soon as one is linked; igris-runtime verify tells more, and other "
                + "conversations go on", cause: error)
    }

    /// Takes what was written since the last look, here or elsewhere.
    func catchUp() async {
        let news = await writer.news(since: newsNumber)
        // Somebody else has looked meanwhile.
        guard news.next > newsNumber else { return }
        newsNumber = news.next
        guard let operations = news.operations else {
            cache = ConversationCache()
            generation += 1
            return
        }
        for operation in operations {
            reads[operation.stream]?.written.append(operation)
            recentStreams.add(operation)
            cache.add([operation], to: operation.stream)
        }
    }

    /// What was written since the first of the present readers began.
    private func endRead(of stream: StreamID) -> [Operation] {
        guard let read = reads[stream] else { return [] }
        reads[stream]?.readers -= 1
        if read.readers <= 1 { reads[stream] = nil }
        return read.written
    }

    func write(_ entry: LogWriter.Entry, to stream: StreamID) async throws -> LogWriter.Appended {
        do {
            let written = try await writer.append(entry)
            let theirs = written.operations.filter { $0.stream == stream }
            reads[stream]?.written += theirs
            for operation in written.operations { recentStreams.add(operation) }
            cache.add(theirs, to: stream)
            return written
        } catch {
            // It may have reached the disk all the same: the next use reads it again.
            cache.forget(stream)
            throw error
        }
    }

    func requestKey(_ request: ChatRequest, _ caller: Owner) -> Bytes16? {
        request.idempotencyKey.flatMap {
            Bytes16(HMACSHA256.authenticate(Array("\(caller.name)\u{0}\($0)".utf8), key: prefixKey))
        }
    }

    /// The same on every host.
    package static func stream(of id: ConversationID, owner: Owner) -> StreamID {
        let hash = SHA256.hash(Array("igris-conversation-1\u{0}\(owner.name)\u{0}\(id.rawValue)".utf8))
        return StreamID(Bytes16(hash) ?? Bytes16(high: 0, low: 0))
    }

    /// One for each `user` behind a key.
    private static func defaultID(_ user: String?) -> ConversationID {
        guard let user else { return ConversationID("default", hexOf: []) }
        return ConversationID("default-", hexOf: SHA256.hash(Array(user.utf8)).prefix(8))
    }
}
