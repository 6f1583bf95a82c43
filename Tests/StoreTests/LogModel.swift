import Core
import Cryptography

/// What a store should hold: the plainest implementation of the port, to compare with. It also writes the commits.
struct LogModel {
    private(set) var operations: [Dot: Operation] = [:]
    private(set) var heads: [Origin: LogHead] = [:]
    private(set) var headers: [StreamID: ConversationHeader] = [:]
    private(set) var prefixes: [PrefixHash: PrefixMatch] = [:]
    private(set) var latest = HybridTimestamp(rawValue: 0)
    private var clock: UInt64 = 1_000

    var streams: [StreamID] { Set(operations.values.map(\.stream)).sorted() }

    /// The next turn of a conversation, written by `origin`.
    mutating func turn(
        _ origin: Origin, stream: StreamID, owner: Owner = .local, text: String, prefix: UInt64? = nil,
        kind: Operation.Kind = .userTurn, dependencies: [Dot]? = nil
    ) -> Commit {
        clock += 1
        let dot = Dot(origin: origin, sequence: (heads[origin]?.sequence ?? 0) + 1)
        let last = operations.values.filter { $0.stream == stream }.max { $0.timestamp < $1.timestamp }
        let operation = Operation(
            dot: dot, kind: kind, timestamp: HybridTimestamp(rawValue: clock), stream: stream,
            dependencies: dependencies ?? last.map { [$0.dot] } ?? [],
            body: TurnCodec.encode(Turn(message: Message(.user, text))))
        var header =
            headers[stream]
            ?? ConversationHeader(
                stream: stream, id: ConversationID("conv", hexOf: stream.bytes.bytes), owner: owner,
                created: operation.timestamp, updated: operation.timestamp, turns: 0)
        header.updated = operation.timestamp
        header.turns += 1
        return Commit(
            operations: [operation], heads: [head(after: operation)], conversations: [header],
            prefixes: prefix.map { [PrefixMatch(prefix: PrefixHash(rawValue: $0), stream: stream, dot: dot)] } ?? [])
    }

    func head(after operation: Operation) -> LogHead {
        let previous = heads[operation.dot.origin]?.chain ?? .empty
        return LogHead(
            origin: operation.dot.origin, sequence: operation.dot.sequence,
            chain: ChainHash(SHA256.hash(previous.bytes + SHA256.hash(OperationCodec.encode(operation)))))
    }

    mutating func apply(_ commit: Commit) {
        for operation in commit.operations {
            operations[operation.dot] = operation
            latest = max(latest, operation.timestamp)
        }
        for head in commit.heads { heads[head.origin] = head }
        for header in commit.conversations { headers[header.stream] = header }
        for match in commit.prefixes { prefixes[match.prefix] = match }
        for dot in commit.erasures {
            prefixes = prefixes.filter { $0.value.dot != dot }
            guard let operation = operations[dot], !operation.body.isEmpty, !operation.flags.contains(.erased)
            else { continue }
            operations[dot]?.body = SHA256.hash(OperationCodec.encode(operation))
            operations[dot]?.flags.insert(.erased)
        }
        for stream in commit.removals { headers[stream] = nil }
        for header in commit.conversations { headers[header.stream] = header }
    }

    /// The whole of a conversation goes.
    func deletion(of stream: StreamID) -> Commit {
        Commit(erasures: operations(of: stream).map(\.dot), removals: [stream])
    }

    func operations(of stream: StreamID) -> [Operation] {
        operations.values.filter { $0.stream == stream }.sorted { $0.dot < $1.dot }
    }

    func operations(of origin: Origin, after sequence: UInt64) -> [Operation] {
        operations.values.filter { $0.dot.origin == origin && $0.dot.sequence > sequence }.sorted { $0.dot < $1.dot }
    }

    func headers(of owner: Owner) -> [ConversationHeader] {
        headers.values.filter { $0.owner == owner }.sorted { $0.updated > $1.updated }
    }

    /// The first difference between the model and a store; nil when there is none.
    func difference(from store: any ContextStore) async throws -> String? {
        let recovered = try await store.recover()
        if recovered.heads != heads.values.sorted(by: { $0.origin < $1.origin }) {
            return "heads: \(recovered.heads.map(\.sequence)) for \(heads.values.map(\.sequence))"
        }
        if recovered.latestTimestamp != latest { return "latest timestamp" }
        for stream in streams {
            if try await store.operations(of: stream) != operations(of: stream) { return "operations of \(stream)" }
            if try await store.conversation(stream) != headers[stream] { return "header of \(stream)" }
        }
        for origin in heads.keys.sorted() {
            let stored = try await store.operations(of: origin, after: 0, limit: .max)
            if stored != operations(of: origin, after: 0) { return "operations of \(origin)" }
        }
        for owner in Set(headers.values.map(\.owner)) {
            let stored = try await store.conversations(of: owner, limit: 1_000_000)
            if stored != headers(of: owner) { return "conversations of \(owner)" }
        }
        for (prefix, match) in prefixes {
            if try await store.firstMatch(of: [prefix]) != match { return "prefix \(prefix)" }
        }
        let statistics = try await store.statistics()
        if statistics.operations != operations.count {
            return "count of operations: \(statistics.operations) for \(operations.count)"
        }
        if statistics.conversations != headers.count { return "count of conversations" }
        return nil
    }
}
