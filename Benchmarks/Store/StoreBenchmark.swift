import Core
import Cryptography
import Glibc
import Store
import Swarm

/// What the disk side of a swarm costs: operations from peers, and a late joiner's snapshot.
///
///     store-benchmark FOLDER [OPERATIONS [BYTES]]
///
/// Prints one JSON line. FOLDER must be empty and is left with the stores in it.
@main
enum StoreBenchmark {
    static let hosts = 3
    static let conversations = 1_000

    static func main() async throws { try await run(CommandLine.arguments) }

    @concurrent
    private static func run(_ arguments: [String]) async throws {
        guard arguments.count > 1 else {
            print("usage: store-benchmark FOLDER [OPERATIONS [BYTES]]")
            exit(64)
        }
        func number(_ index: Int, _ usual: Int) -> Int {
            arguments.indices.contains(index) ? Int(arguments[index]) ?? usual : usual
        }
        let count = number(2, 100_000)
        let bytes = number(3, 1_000)
        let source = try await open("\(arguments[1])/source.db", node: 1)
        let joiner = try await open("\(arguments[1])/joiner.db", node: 2)

        let authors = try (0..<hosts).map { _ in try Ed25519.PrivateKey() }
        var authorship = Authorship(authors)
        let fill = ContinuousClock.now
        var written = 0
        while written < count {
            let batch = try authorship.batch(Int.random(in: 0..<hosts), operations: min(64, count - written), bytes)
            try await source.commit(authorship.commit(batch))
            written += batch.operations.count
        }
        let filled = ContinuousClock.now - fill

        let make = ContinuousClock.now
        let manifest = try await source.makeSnapshot()
        let made = ContinuousClock.now - make
        let peak = residentKiB()

        // The joiner's part: fetch, check, number, write.
        let join = ContinuousClock.now
        var reader = try SnapshotReader(manifest)
        var log = OperationLog(try await joiner.recover(), seals: .ed25519(try Ed25519.PrivateKey()))
        var fresh = Authorship(authors)
        while let range = reader.next(atMost: 1024 * 1024) {
            var commit = Commit(durability: .relaxed)
            let batches = try reader.received(try await source.snapshotBytes(manifest.id, range))
            for case .apply(let advance) in log.received(
                batches, from: NodeID(Bytes16(high: 1, low: 1)), isDivisible: true, milliseconds: wall())
            {
                commit.operations += advance.operations
                commit.heads = advance.heads
                commit.seals += advance.seals
            }
            fresh.show(&commit)
            try await joiner.commit(commit)
        }
        let joined = ContinuousClock.now - join

        // Lone operations from a peer, first alone, then beside a host that writes and waits for its disk.
        let alone = try await relaxed(joiner, authors, count: 2_000)
        let own = try await joiner.recover().origin
        var synced: [Duration] = []
        let (beside, writing) = try await withThrowingTaskGroup(of: [Duration]?.self) { group in
            group.addTask { try await relaxed(joiner, [try Ed25519.PrivateKey()], count: 2_000) }
            group.addTask {
                var times: [Duration] = []
                var chain = ChainHash.empty
                for sequence in 1...200 as ClosedRange<UInt64> {
                    let operation = Operation(
                        dot: Dot(origin: own, sequence: sequence), kind: .userTurn,
                        timestamp: HybridTimestamp(milliseconds: wall()), stream: StreamID(Bytes16(high: 5, low: 5)),
                        body: [UInt8](repeating: 1, count: 300))
                    chain = OperationLog.chain(chain, operation)
                    let start = ContinuousClock.now
                    try await joiner.commit(
                        Commit(
                            operations: [operation], heads: [LogHead(origin: own, sequence: sequence, chain: chain)]))
                    times.append(ContinuousClock.now - start)
                }
                return times
            }
            var results: [[Duration]] = []
            for try await result in group { if let result { results.append(result) } }
            results.sort { $0.count > $1.count }
            return (results[0], results[1])
        }
        synced = writing
        await source.close()
        await joiner.close()

        let report: JSON = [
            "operations": .integer(Int64(count)), "bytes": .integer(Int64(bytes)),
            "fill_operations_per_second": .number((Double(count) / (filled / .seconds(1))).rounded()),
            "snapshot_seconds": .number(rounded(made)), "snapshot_bytes": .integer(Int64(manifest.bytes)),
            "snapshot_resident_kib": .integer(Int64(peak)), "join_seconds": .number(rounded(joined)),
            "join_operations_per_second": .number((Double(count) / (joined / .seconds(1))).rounded()),
            "relaxed_us": percentiles(alone), "relaxed_beside_synced_us": percentiles(beside),
            "synced_us": percentiles(synced),
            "source_bytes_per_operation": .number(size("\(arguments[1])/source.db", count)),
            "joiner_bytes_per_operation": .number(size("\(arguments[1])/joiner.db", count)),
        ]
        print(report.text)
    }

    private static func open(_ path: String, node: UInt64) async throws -> SQLiteContextStore {
        let store = try await SQLiteContextStore.open(
            .file(path), key: .custom(try SymmetricKey(random: 32)), node: NodeID(Bytes16(high: 1, low: node)),
            hostname: "benchmark")
        _ = try await store.recover()
        return store
    }

    /// How long it takes until an operation of a peer can be read.
    private static func relaxed(
        _ store: SQLiteContextStore, _ authors: [Ed25519.PrivateKey], count: Int
    ) async throws -> [Duration] {
        var authorship = Authorship(authors, epoch: UInt32.random(in: 1_000...1_000_000))
        var times: [Duration] = []
        for _ in 0..<count {
            var commit = authorship.commit(try authorship.batch(0, operations: 1, 300))
            commit.durability = .relaxed
            let start = ContinuousClock.now
            try await store.commit(commit)
            times.append(ContinuousClock.now - start)
            try await Task.sleep(for: .microseconds(500))
        }
        return times
    }

    private static func percentiles(_ times: [Duration]) -> JSON {
        let sorted = times.sorted()
        func at(_ part: Double) -> JSON {
            .number((sorted[Int(Double(sorted.count - 1) * part)] / .microseconds(1)).rounded())
        }
        return ["p50": at(0.5), "p99": at(0.99), "max": at(1)]
    }

    private static func rounded(_ duration: Duration) -> Double { (duration / .milliseconds(10)).rounded() / 100 }

    private static func size(_ path: String, _ count: Int) -> Double {
        var file = stat()
        stat(path, &file)
        return (Double(file.st_size) / Double(count)).rounded()
    }

    private static func residentKiB() -> Int {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        return usage.ru_maxrss
    }

    static func wall() -> UInt64 { UInt64(clamping: time(nil)) * 1_000 }
}

/// A few hosts that write turns into common conversations, each after the last one that was written there.
struct Authorship {
    private let authors: [Ed25519.PrivateKey]
    private let origins: [Origin]
    private var heads: [LogHead]
    private var last: [StreamID: Dot] = [:]
    private var headers: [StreamID: ConversationHeader] = [:]
    private var turns = 0

    init(_ authors: [Ed25519.PrivateKey], epoch: UInt32 = 1) {
        self.authors = authors
        origins = authors.map {
            Origin(node: NodeID(Bytes16(SHA256.hash($0.publicKey.bytes)) ?? Bytes16(high: 0, low: 0)), epoch: epoch)
        }
        heads = origins.map { LogHead(origin: $0, sequence: 0, chain: .empty) }
    }

    mutating func batch(_ host: Int, operations count: Int, _ bytes: Int) throws -> OperationBatch {
        var operations: [Operation] = []
        for _ in 0..<count {
            turns += 1
            let stream = StreamID(Bytes16(high: 3, low: UInt64(turns % StoreBenchmark.conversations)))
            let operation = Operation(
                dot: Dot(origin: origins[host], sequence: heads[host].sequence + 1), kind: .userTurn,
                timestamp: HybridTimestamp(
                    milliseconds: StoreBenchmark.wall(), counter: UInt16(truncatingIfNeeded: turns)),
                stream: stream, dependencies: last[stream].map { [$0] } ?? [],
                body: (0..<bytes).map { UInt8(truncatingIfNeeded: $0 &* turns) })
            heads[host].sequence += 1
            heads[host].chain = OperationLog.chain(heads[host].chain, operation)
            last[stream] = operation.dot
            operations.append(operation)
        }
        let message = BatchSeal.message(
            origin: origins[host], sequence: heads[host].sequence, chain: heads[host].chain)
        let seal = BatchSeal(
            origin: origins[host], sequence: heads[host].sequence, author: authors[host].publicKey.bytes,
            signature: try authors[host].sign(message))
        return OperationBatch(operations: operations, seal: seal)
    }

    mutating func commit(_ batch: OperationBatch) -> Commit {
        var commit = Commit(
            operations: batch.operations, heads: heads.filter { $0.origin == batch.origin }, seals: [batch.seal],
            durability: .relaxed)
        show(&commit)
        return commit
    }

    /// The view's rows that follow.
    mutating func show(_ commit: inout Commit) {
        var touched: Set<StreamID> = []
        for operation in commit.operations {
            var header =
                headers[operation.stream]
                ?? ConversationHeader(
                    stream: operation.stream, id: ConversationID("bench", hexOf: operation.stream.bytes.bytes),
                    owner: .local, created: operation.timestamp, updated: operation.timestamp, turns: 0)
            header.updated = max(header.updated, operation.timestamp)
            header.turns += 1
            headers[operation.stream] = header
            touched.insert(operation.stream)
        }
        commit.conversations = touched.sorted().compactMap { headers[$0] }
    }
}
