package import Core
package import Logging
internal import Metrics
package import Swarm

/// The shell of ``Replication``: numbers and signs what this host writes, pushes it to the peers before the disk has
/// it, writes it, and tells when it is safe; takes what peers send, and answers them.
///
/// What is asked while a commit is on its way to disk goes together into the next one. Commits of others' operations
/// go beside those of this host's own: neither waits for the other's turn.
package actor LogWriter {
    /// What one caller wants written, all of it or nothing.
    package struct Entry: Sendable {
        /// Drafts of one conversation, and notes of its requests; each follows the one before it, the first what it names.
        package var drafts: [OperationLog.Draft]

        package init(drafts: [OperationLog.Draft]) { self.drafts = drafts }
    }

    package struct Appended: Sendable {
        package var operations: [Operation]
        /// Stores that hold them by now, this host's included.
        package var replicas: Int
    }

    /// When a turn counts as safe (`context.durability`).
    package enum Durability: String, Hashable, Sendable, CaseIterable {
        /// One peer's store or this host's disk, whichever comes first (swarm.md §4).
        case first
        /// This host's disk.
        case fsync
        /// The stores of more than half of the members alive.
        case quorum
    }

    let store: any ContextStore
    let seals: SealScheme
    /// Refuses what would be new while there is no room for it.
    package nonisolated let pressure: Pressure?
    private let durability: Durability
    private let seed: UInt64
    let wallClock: @Sendable () -> UInt64
    let log: Logger
    let start = ContinuousClock.now
    let metrics = LogMetrics()

    var machine: Replication?
    var ledger = ConversationLedger()
    /// The effects that are being performed.
    var performing: [Replication.Effect] = []
    /// Writes whose commits are not with the store yet, in their order.
    var accepted: [Replication.Write] = []
    /// The histories that end with turns on their way to the disk, by the number of their write.
    var unsettled: [UInt64: [PrefixMatch]] = [:]
    var isPreparing = false
    var isMending = false
    var damage = StoreDamage()
    /// Something happened that a look at the store is wanted for.
    var damageWasTouched = false
    var resting: Task<Void?, Never>?
    var isScrubbing = false
    var waitingForScrub: [CheckedContinuation<Void, Never>] = []
    var links: [NodeID: Link] = [:]
    var news = LogNews()
    var listeners: [Int: AsyncStream<LogNotice>.Continuation] = [:]
    var listenerNumbers = 0
    var broadcastListener: AsyncStream<OperationBatch>.Continuation?
    var backlogged: [CheckedContinuation<Void, Never>] = []
    private var unavailable: RuntimeError?
    private var pending: [Int: Pending] = [:]
    private var ticket = 0
    /// The last operation of this host's that is on its way to disk.
    private var writing: Dot?
    private var refusal: (error: RuntimeError, at: ContinuousClock.Instant)?
    /// Members alive, this host included.
    private var alive = 1

    /// An entry that is numbered and not safe yet.
    private struct Pending {
        let operations: [Operation]
        let last: Dot
        var onDisk: Result<Void, RuntimeError>?
        var replicas: Set<NodeID> = []
        let result: CheckedContinuation<Appended, any Error>
    }

    struct Link {
        let send: @Sendable ([UInt8]) -> Void
        let queued: @Sendable () -> Int
    }

    /// - Parameters:
    ///   - seals: this host's key; its node must be the store's.
    ///   - seed: for the jitter of keepalives.
    ///   - wallClock: milliseconds since 1970.
    package init(
        store: any ContextStore, seals: SealScheme, durability: Durability = .first, seed: UInt64 = 0,
        pressure: Pressure? = nil, log: Logger = Logger(label: "igris.log"), wallClock: @escaping @Sendable () -> UInt64
    ) {
        self.store = store
        self.seals = seals
        self.durability = durability
        self.seed = seed
        self.pressure = pressure
        self.log = log
        self.wallClock = wallClock
    }

    /// Reads where the log stands. A store that cannot be read stays as it is; ``failure`` tells why.
    package func recover() async {
        do {
            let recovered = try await store.recover()
            let unsealed = try Self.missingSeals(recovered, seals)
            if !unsealed.isEmpty { try await store.commit(Commit(seals: unsealed)) }
            let evidence = try await store.operations(of: EquivocationProof.stream)
            machine = Replication(recovered, seals: seals, seed: seed, evidence: evidence)
            unavailable = nil
        } catch {
            unavailable =
                error as? RuntimeError ?? RuntimeError(.system, "the store could not be read", cause: error)
        }
    }

    /// This host's word for what it wrote before there was a swarm.
    private static func missingSeals(
        _ recovered: RecoveredLog, _ scheme: SealScheme
    ) throws(RuntimeError) -> [BatchSeal] {
        var missing: [BatchSeal] = []
        for head in recovered.heads where head.origin.node == recovered.origin.node && head.sequence > 0 {
            let sealed = recovered.seals.first { $0.origin == head.origin }?.sequence ?? 0
            if sealed < head.sequence { missing.append(try scheme.sealed(head)) }
        }
        return missing
    }

    /// Why nothing can be written, if so.
    package var failure: RuntimeError? { unavailable }

    /// How long a refused commit counts as the present state. After that turns are let through again: only the next
    /// commit can tell whether the disk has recovered.
    private static let refusalHolds = Duration.seconds(10)

    /// Why the last commit was refused, while that is news.
    package var lastRefusal: RuntimeError? {
        guard let refusal, ContinuousClock.now - refusal.at < Self.refusalHolds else { return nil }
        return refusal.error
    }

    /// Entries that wait for the commit before them.
    package var queued: Int {
        guard let writing else { return pending.count }
        return pending.values.count { $0.last.origin != writing.origin || $0.last.sequence > writing.sequence }
    }

    // MARK: - Appending

    /// Gives the drafts their places and returns once they are safe, as ``Durability`` says.
    package func append(_ entry: Entry) async throws -> Appended {
        if let unavailable { throw unavailable }
        // An answer to what stands, and what takes something away, is what the reserve is for.
        if entry.drafts.contains(where: { $0.kind == .userTurn || $0.kind == .conversationMeta }) {
            try pressure?.requireDisk()
        }
        try await prepare(entry.drafts)
        guard machine != nil else { throw RuntimeError(.unavailable, "the store is not open") }
        return try await withCheckedThrowingContinuation { result in
            do {
                try propose(entry, result)
            } catch {
                result.resume(throwing: error)
            }
        }
    }

    /// Numbers, signs and pushes; from here on the entry is under way.
    private func propose(_ entry: Entry, _ result: CheckedContinuation<Appended, any Error>) throws(RuntimeError) {
        failpoint("log.propose.before")
        guard let drafts = machine.map({ Self.chained(entry.drafts, in: $0.log) }),
            let (operations, effects) = try machine?.propose(drafts, now: now, wallClock: wallClock(), queues: queues)
        else { throw RuntimeError(.unavailable, "the store is not open") }
        guard let last = operations.last else {
            result.resume(returning: Appended(operations: [], replicas: 0))
            return
        }
        ticket += 1
        pending[ticket] = Pending(operations: operations, last: last.dot, result: result)
        perform(effects)
        failpoint("log.propose.after")
        if durability == .quorum { expire(ticket) }
    }

    /// Each turn follows the one before it.
    private static func chained(_ drafts: [OperationLog.Draft], in log: OperationLog) -> [OperationLog.Draft] {
        var drafts = drafts
        var previous: Dot?
        for index in drafts.indices {
            // The conversation's description is not part of its order.
            guard drafts[index].kind != .conversationMeta else { continue }
            if let previous { drafts[index].dependencies = [previous] }
            previous = log.nextDot(after: index)
        }
        return drafts
    }

    /// Reads what there is of the drafts' conversations: a damaged one fails its own entry and no other.
    private func prepare(_ drafts: [OperationLog.Draft]) async throws {
        for stream in Set(drafts.map(\.stream)).sorted() {
            _ = try await row(of: stream)
            let removes = drafts.contains { $0.stream == stream && $0.kind.removes }
            do {
                try await load(stream, withHistory: removes)
            } catch let error as RuntimeError where error.code == .corrupt && removes {
                // What is damaged can be deleted like everything else.
                ledger.load(stream, try await store.remains(of: stream), withHistory: true)
            }
        }
    }

    func load(_ stream: StreamID, withHistory: Bool) async throws {
        while !ledger.isLoaded(stream) || withHistory {
            let mark = ledger.mark(of: stream)
            let stored = try await store.operations(of: stream)
            // Something was written to it meanwhile, and the rows may lack it.
            guard ledger.mark(of: stream) == mark else { continue }
            return ledger.load(stream, stored, withHistory: withHistory)
        }
    }

    /// Nil where there is no such conversation. One whose first turns a peer's word has made safe, while this host's
    /// disk is at work on what came before them, has a row only once it is their turn: that is waited for.
    package func header(of stream: StreamID) async throws -> ConversationHeader? {
        let last = waiting.last { $0.stream == stream }?.dot
        if let header = try await row(of: stream) { return header }
        guard let last else { return nil }
        // No longer than for that one: a stream of notes never has a row, and something of it may always be waiting.
        while waiting.contains(where: { $0.dot == last }) {
            await withCheckedContinuation { backlogged.append($0) }
        }
        return try await row(of: stream)
    }

    /// Returns once this host's turns that are under way now are on its disk, for what is to be read there: a peer's word
    /// may have told their clients before that. A disk that takes longer than `patience` is read as it is.
    package func catchUp(patience: Duration = .seconds(1)) async {
        guard let last = machine?.waiting.last?.dot ?? writing else { return }
        let end = ContinuousClock.now + patience
        let alarm = Task {
            try? await Task.sleep(for: patience)  // cancelled: nobody waits any more
            makeRoom()
        }
        while isUnderWay(last), ContinuousClock.now < end {
            await withCheckedContinuation { backlogged.append($0) }
        }
        alarm.cancel()
    }

    private func isUnderWay(_ dot: Dot) -> Bool {
        guard let last = machine?.waiting.last?.dot ?? writing else { return false }
        return last.origin == dot.origin && last.sequence >= dot.sequence && !vector.contains(dot)
    }

    /// This host's operations that the ledger has not seen yet.
    private var waiting: [Operation] {
        accepted.filter(\.isOwn).flatMap(\.operations) + (machine?.waiting ?? [])
    }

    func row(of stream: StreamID) async throws -> ConversationHeader? {
        if let unavailable { throw unavailable }
        if ledger.isLoaded(stream) { return ledger.header(of: stream) }
        return try await store.conversation(stream)
    }

    /// The first of these histories that is known, be it on the disk or on its way there: a peer's word makes a turn
    /// safe, and lets a client go on, before this host's disk has it.
    func firstMatch(of prefixes: [PrefixHash]) async throws -> PrefixMatch? {
        let early = waiting.compactMap(Self.prefix(of:))
        let fresh = Dictionary((unsettled.values.joined() + early).map { ($0.prefix, $0) }) { first, _ in first }
        let stored = try await store.firstMatch(of: prefixes)
        for prefix in prefixes {
            if let match = fresh[prefix] { return match }
            if let stored, stored.prefix == prefix { return stored }
        }
        return nil
    }

    // MARK: - When an entry is safe

    /// The disk has, or refused, a write of this host's.
    func settle(_ write: Replication.Write, _ result: Result<Void, RuntimeError>) {
        failpoint("log.settle")
        writing = nil
        if case .failure(let error) = result {
            refusal = (error, ContinuousClock.now)
        } else {
            refusal = nil
        }
        let origins = Set(write.operations.map(\.dot.origin))
        for (ticket, entry) in pending.sorted(by: { $0.key < $1.key }) where entry.onDisk == nil {
            switch result {
            case .success:
                guard
                    write.heads.contains(where: { $0.origin == entry.last.origin && $0.sequence >= entry.last.sequence }
                    )
                else { continue }
            case .failure:
                // All that was to follow goes with it.
                guard origins.contains(entry.last.origin) else { continue }
            }
            pending[ticket]?.onDisk = result
            resolve(ticket)
        }
    }

    func isWriting(_ write: Replication.Write) { writing = write.operations.last?.dot }

    /// A peer's store has this host's stream up to `sequence`.
    func acknowledged(_ origin: Origin, upTo sequence: UInt64, by peer: NodeID) {
        failpoint("batch.acknowledge")
        for (ticket, entry) in pending.sorted(by: { $0.key < $1.key })
        where entry.last.origin == origin && entry.last.sequence <= sequence {
            pending[ticket]?.replicas.insert(peer)
            resolve(ticket)
        }
    }

    /// How many members are alive, this host included: what ``Durability/quorum`` counts against.
    package func members(alive count: Int) { alive = max(1, count) }

    private func resolve(_ ticket: Int) {
        guard let entry = pending[ticket] else { return }
        var isOnDisk = false
        var refused: RuntimeError?
        switch entry.onDisk {
        case .success: isOnDisk = true
        case .failure(let error): refused = error
        case nil: break
        }
        let replicas = entry.replicas.count + (isOnDisk ? 1 : 0)
        let isSafe =
            switch durability {
            case .first: replicas > 0
            case .fsync: isOnDisk
            case .quorum: replicas > alive / 2
            }
        if isSafe {
            pending[ticket] = nil
            entry.result.resume(returning: Appended(operations: entry.operations, replicas: replicas))
        } else if let refused {
            if durability == .fsync || links.isEmpty {
                fail(ticket, refused)
            } else {
                // A peer may have it all the same.
                expire(ticket)
            }
        }
    }

    /// So long an entry that this host's disk alone does not make safe waits for the peers.
    private static let patience = Duration.seconds(2)

    private func expire(_ ticket: Int) {
        Task {
            try? await Task.sleep(for: Self.patience)  // nobody cancels it
            guard let entry = pending[ticket] else { return }
            if case .failure(let error) = entry.onDisk {
                fail(ticket, error)
            } else {
                fail(
                    ticket,
                    RuntimeError(
                        .unavailable,
                        "fewer than \(alive / 2 + 1) hosts have stored the turn; it may still arrive there: ask again "
                            + "with the same idempotency key", retryAfter: .seconds(2)))
            }
        }
    }

    private func fail(_ ticket: Int, _ error: RuntimeError) {
        pending.removeValue(forKey: ticket)?.result.resume(throwing: error)
    }

    // MARK: - Parts

    /// Since the start.
    var now: Duration { ContinuousClock.now - start }

    var queues: [NodeID: Int] { links.mapValues { $0.queued() } }
}
