import Core
import Cryptography

/// A store in memory whose commits can be held up and refused. Operations go through their bytes, as on disk.
actor MemoryStore: ContextStore {
    private let node: NodeID
    private var epoch: UInt32 = 1
    private var log: [Origin: [[UInt8]]] = [:]
    private var heads: [Origin: LogHead] = [:]
    /// All of them, ascending.
    private var seals: [Origin: [BatchSeal]] = [:]
    private var headers: [StreamID: ConversationHeader] = [:]
    private var prefixes: [PrefixHash: PrefixMatch] = [:]
    private var latest = HybridTimestamp(rawValue: 0)

    /// How many commits were written.
    private(set) var commits = 0
    /// The operations of each commit, in the order in which they were asked for.
    private(set) var asked: [[Dot]] = []
    /// How many were asked for, also those that are held up or refused.
    private(set) var begun = 0
    private var beginnings = Watchers()
    private var endings = Watchers()
    private var refusals: [Int: RuntimeError] = [:]
    private var holds: [Int: Gate] = [:]
    private var readHold: (reached: Gate, release: Gate)?
    private var failure: RuntimeError?
    private var damaged: Set<StreamID> = []

    init(node: NodeID = World.node) { self.node = node }

    // MARK: - What a test arranges

    /// The `number`-th commit from 1 fails.
    func refuse(_ number: Int, with error: RuntimeError) { refusals[number] = error }
    /// The `number`-th commit waits for `gate`.
    func hold(_ number: Int, until gate: Gate) { holds[number] = gate }
    /// The next read of a conversation has taken its rows, but gives them out only after `release`.
    func holdRead(reached: Gate, release: Gate) { readHold = (reached, release) }
    func damage(_ stream: StreamID) { damaged.insert(stream) }
    func lock(_ error: RuntimeError?) { failure = error }

    /// Waits until so many commits have begun.
    func waitForBegun(_ count: Int) async { await beginnings.gate(begun, count)?.wait() }
    /// Waits until so many commits are written.
    func waitForCommits(_ count: Int) async { await endings.gate(commits, count)?.wait() }

    private struct Watchers {
        private var gates: [(atLeast: Int, gate: Gate)] = []

        mutating func gate(_ now: Int, _ count: Int) -> Gate? {
            guard now < count else { return nil }
            let gate = Gate()
            gates.append((atLeast: count, gate: gate))
            return gate
        }

        mutating func reached(_ count: Int) {
            for watcher in gates where watcher.atLeast <= count { watcher.gate.open() }
            gates.removeAll { $0.atLeast <= count }
        }
    }

    var prefixCount: Int { prefixes.count }

    var everything: [Operation] {
        get throws {
            try log.sorted { $0.key < $1.key }.flatMap { try $0.value.map(OperationCodec.decode) }
        }
    }

    // MARK: - ContextStore

    func recover() throws -> RecoveredLog {
        if let failure { throw failure }
        epoch = max(epoch, heads.keys.map(\.epoch).max() ?? 0)
        return RecoveredLog(
            origin: Origin(node: node, epoch: epoch), heads: heads.values.sorted { $0.origin < $1.origin },
            seals: seals.values.compactMap(\.last).sorted { $0.origin < $1.origin }, latestTimestamp: latest)
    }

    func commit(_ commit: Commit) async throws {
        if let failure { throw failure }
        begun += 1
        asked.append(commit.operations.map(\.dot))
        let number = begun
        beginnings.reached(begun)
        await holds[number]?.wait()
        if let refusal = refusals[number] { throw refusal }
        for operation in commit.operations {
            let origin = operation.dot.origin
            guard operation.dot.sequence == UInt64(log[origin]?.count ?? 0) + 1 else {
                throw RuntimeError(.internal, "\(operation.dot) leaves a gap")
            }
            log[origin, default: []].append(OperationCodec.encode(operation))
            latest = max(latest, operation.timestamp)
        }
        for head in commit.heads { heads[head.origin] = head }
        for seal in commit.seals where seal.sequence > seals[seal.origin]?.last?.sequence ?? 0 {
            guard seal.sequence <= heads[seal.origin]?.sequence ?? 0 else {
                throw RuntimeError(.internal, "a seal of \(seal.origin) covers what is not here")
            }
            seals[seal.origin, default: []].append(seal)
        }
        for dot in commit.erasures { try erase(dot) }
        for stream in commit.removals { headers[stream] = nil }
        for header in commit.conversations { headers[header.stream] = header }
        for prefix in commit.prefixes { prefixes[prefix.prefix] = prefix }
        for dot in commit.erasures { prefixes = prefixes.filter { $0.value.dot != dot } }
        commits += 1
        endings.reached(commits)
    }

    private func erase(_ dot: Dot) throws {
        let index = Int(dot.sequence) - 1
        guard let bytes = log[dot.origin]?[index] else { throw RuntimeError(.internal, "\(dot) is not here") }
        var operation = try OperationCodec.decode(bytes)
        guard !operation.flags.contains(.erased), !operation.body.isEmpty else { return }
        operation.body = SHA256.hash(bytes)
        operation.flags.insert(.erased)
        log[dot.origin]?[index] = OperationCodec.encode(operation)
    }

    func batch(of origin: Origin, after sequence: UInt64) throws -> OperationBatch? {
        let above = (seals[origin] ?? []).filter { $0.sequence > sequence }
        let farthest = sequence + UInt64(Limits.batchOperations)
        guard let seal = above.last(where: { $0.sequence <= farthest }) ?? above.first else { return nil }
        let count = Int(seal.sequence - sequence)
        return OperationBatch(operations: try operations(of: origin, after: sequence, limit: count), seal: seal)
    }

    /// Rows in memory are never damaged.
    func scrub(after place: Dot?, rows: Int) -> ScrubbedRows { ScrubbedRows() }
    func repair(_ operations: [Operation]) -> [Dot] { [] }
    func recount() -> [StreamID] { [] }
    func remains(of stream: StreamID) throws -> [Operation] { try everything.filter { $0.stream == stream } }

    func operations(of stream: StreamID) async throws -> [Operation] {
        if let failure { throw failure }
        let found = try everything.filter { $0.stream == stream }
        if let hold = readHold {
            readHold = nil
            hold.reached.open()
            await hold.release.wait()
        }
        return found
    }

    func operations(of origin: Origin, after sequence: UInt64, limit: Int) throws -> [Operation] {
        try everything.filter { $0.dot.origin == origin && $0.dot.sequence > sequence }.prefix(limit).map { $0 }
    }

    func conversation(_ stream: StreamID) throws -> ConversationHeader? {
        if let failure { throw failure }
        if damaged.contains(stream) { throw RuntimeError(.corrupt, "a row is damaged") }
        return headers[stream]
    }

    func conversations(of owner: Owner, limit: Int) throws -> [ConversationHeader] {
        if let failure { throw failure }
        return Array(headers.values.filter { $0.owner == owner }.sorted { $0.updated > $1.updated }.prefix(limit))
    }

    func firstMatch(of candidates: [PrefixHash]) throws -> PrefixMatch? {
        if let failure { throw failure }
        return candidates.lazy.compactMap { self.prefixes[$0] }.first
    }

    func statistics() throws -> StoreStatistics {
        StoreStatistics(conversations: headers.count, operations: log.values.reduce(0) { $0 + $1.count }, bytes: 0)
    }

    /// A conversation's bytes are those of its operations.
    func oldest(limit: Int) throws -> [ConversationSize] {
        let all = try everything
        return headers.values.sorted { $0.updated < $1.updated }.prefix(limit).map { header in
            ConversationSize(
                header: header,
                bytes: all.filter { $0.stream == header.stream }.reduce(0) { $0 + $1.body.count })
        }
    }

    func contentBytes() throws -> Int { try oldest(limit: .max).reduce(0) { $0 + $1.bytes } }

    func close() {}
}
