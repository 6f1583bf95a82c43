import Core
import Cryptography
import Testing

@testable import Store

@Suite struct SnapshotTests {
    /// Hosts that take turns in a few conversations, each answering what it saw last; every commit is sealed.
    static func fill(
        _ store: SQLiteContextStore, turns: Int, hosts: Int = 3, seed: UInt64 = 1, skew: [UInt64] = [],
        model: inout LogModel, bodyBytes: Int = 40
    ) async throws {
        let own = try await store.recover().origin
        let origins = [own] + (1..<hosts).map { Origin(node: NodeID(Bytes16(high: 60, low: UInt64($0))), epoch: 1) }
        var generator = SeededGenerator(seed: seed)
        for number in 0..<turns {
            let index = Int.random(in: 0..<hosts, using: &generator)
            var commit = model.turn(
                origins[index], stream: Fixture.stream(.random(in: 0..<5, using: &generator)),
                text: "\(number) " + String(repeating: "x", count: bodyBytes))
            if skew.indices.contains(index) {
                let operation = commit.operations[0]
                commit.operations[0] = Operation(
                    dot: operation.dot, kind: operation.kind,
                    timestamp: HybridTimestamp(rawValue: operation.timestamp.rawValue + skew[index]),
                    stream: operation.stream, dependencies: operation.dependencies, body: operation.body)
                commit.heads = [model.head(after: commit.operations[0])]
            }
            commit.seals = [SealTests.seal(origins[index], commit.heads[0].sequence)]
            commit.durability = .relaxed
            model.apply(commit)
            try await store.commit(commit)
        }
    }

    /// All of a snapshot, by parts of `step` bytes, each checked against the manifest.
    static func fetch(_ store: SQLiteContextStore, _ manifest: SnapshotManifest) async throws -> [OperationBatch] {
        var bytes: [UInt8] = []
        for (index, hash) in manifest.parts.enumerated() {
            let start = index * manifest.partBytes
            let part = try await store.snapshotBytes(
                manifest.id, start..<min(start + manifest.partBytes, manifest.bytes))
            #expect(SHA256.hash(part) == hash)
            bytes += part
        }
        #expect(bytes.count == manifest.bytes)
        var batches: [OperationBatch] = []
        var reader = ByteReader(bytes)
        while !reader.isAtEnd {
            batches.append(try OperationBatchCodec.decode(try reader.lengthPrefixed(atMost: bytes.count)))
        }
        return batches
    }

    /// The most operations that wait for others while the batches are taken in their order.
    static func longestWait(_ batches: [OperationBatch]) -> Int {
        var vector = VersionVector()
        var waiting: [Origin: [Operation]] = [:]
        var most = 0
        for batch in batches {
            waiting[batch.origin, default: []] += batch.operations
            var progressed = true
            while progressed {
                progressed = false
                for origin in waiting.keys.sorted() {
                    while let first = waiting[origin]?.first, first.dependencies.allSatisfy(vector.contains) {
                        #expect(first.dot.sequence == vector[origin] + 1)
                        vector[origin] = first.dot.sequence
                        waiting[origin]?.removeFirst()
                        progressed = true
                    }
                }
            }
            most = max(most, waiting.values.reduce(0) { $0 + $1.count })
        }
        #expect(waiting.values.allSatisfy { $0.isEmpty })
        return most
    }

    @Test("A snapshot is the whole log, sealed, each batch after what it needs as far as can be")
    func whole() async throws {
        let sandbox = Sandbox()
        let store = try await SQLiteContextStore.opened(sandbox)
        var model = LogModel()
        try await Self.fill(store, turns: 3_000, model: &model)
        let manifest = try await store.makeSnapshot()
        let batches = try await Self.fetch(store, manifest)
        #expect(manifest.operations == 3_000)
        let operations = Dictionary(uniqueKeysWithValues: batches.flatMap(\.operations).map { ($0.dot, $0) })
        #expect(operations == model.operations)
        for batch in batches { #expect(batch.seal == SealTests.seal(batch.origin, batch.seal.sequence)) }
        for (origin, head) in model.heads { #expect(manifest.vector[origin] == head.sequence) }
        // Of each origin one batch that waits, and one that was needed for another.
        #expect(Self.longestWait(batches) <= 3 * 2 * 64)
        #expect(try await store.snapshotLength(manifest.id) == manifest.bytes)
        await store.close()
    }

    @Test("Clocks that are wrong by hours change nothing: what is needed comes first")
    func skewed() async throws {
        let sandbox = Sandbox()
        let store = try await SQLiteContextStore.opened(sandbox)
        var model = LogModel()
        try await Self.fill(store, turns: 2_000, hosts: 4, skew: [0, 900_000, 5, 3_000_000], model: &model)
        let batches = try await Self.fetch(store, try await store.makeSnapshot())
        #expect(batches.flatMap(\.operations).count == 2_000)
        #expect(Self.longestWait(batches) <= 4 * 2 * 64)
        await store.close()
    }

    @Test("What is written while it is made is not in it, and is not held up")
    func beside() async throws {
        let sandbox = Sandbox()
        let store = try await SQLiteContextStore.opened(sandbox)
        var model = LogModel()
        try await Self.fill(store, turns: 1_500, model: &model, bodyBytes: 2_000)
        let before = model
        async let manifest = store.makeSnapshot()
        try await Self.fill(store, turns: 500, seed: 2, model: &model)
        let batches = try await Self.fetch(store, try await manifest)
        let operations = batches.flatMap(\.operations)
        #expect(operations.count >= 1_500)
        for operation in operations { #expect(operation == model.operations[operation.dot]) }
        let vector = try await manifest.vector
        for (origin, head) in before.heads { #expect(vector[origin] >= head.sequence) }
        await store.close()
    }

    @Test("What was deleted is not in it, what is damaged ends its stream there")
    func erasedAndDamaged() async throws {
        let sandbox = Sandbox()
        let store = try await SQLiteContextStore.opened(sandbox)
        var model = LogModel()
        try await Self.fill(store, turns: 600, hosts: 1, model: &model)
        let deletion = model.deletion(of: Fixture.stream(2))
        model.apply(deletion)
        try await store.commit(deletion)
        let batches = try await Self.fetch(store, try await store.makeSnapshot())
        #expect(batches.flatMap(\.operations).allSatisfy { $0 == model.operations[$0.dot] })
        #expect(batches.flatMap(\.operations).contains { $0.flags.contains(.erased) })
        await store.close()
        do {
            let database = try Database(.file(sandbox.path))
            let id = 1 << Limits.sequenceBits | 300 as Int64
            try database.run("UPDATE operations SET sealed = ? WHERE id = ?", .blob([1, 2]), .integer(id))
        }
        let again = try await SQLiteContextStore.opened(sandbox)
        let manifest = try await again.makeSnapshot()
        #expect((200..<300).contains(manifest.operations))
        #expect(manifest.vector.entries.map(\.sequence) == [UInt64(manifest.operations)])
        await again.close()
    }

    @Test("An empty log has an empty snapshot", arguments: [true, false])
    func empty(isInMemory: Bool) async throws {
        let sandbox = Sandbox()
        let store = try await ContextStoreTests.open(isInMemory ? .memory : .disk, in: sandbox)
        let manifest = try await store.makeSnapshot()
        #expect(manifest.bytes == 0 && manifest.parts == [] && manifest.vector.isEmpty)
        #expect(try await store.snapshotBytes(manifest.id, 0..<0) == [])
        await store.close()
    }

    @Test("A store in memory makes them too")
    func memory() async throws {
        let sandbox = Sandbox()
        let store = try await ContextStoreTests.open(.memory, in: sandbox)
        var model = LogModel()
        try await Self.fill(store, turns: 300, model: &model)
        let batches = try await Self.fetch(store, try await store.makeSnapshot())
        #expect(batches.flatMap(\.operations).count == 300)
        await store.close()
    }

    @Test("Any range can be asked for again; one outside, one too long and an unknown snapshot are refused")
    func ranges() async throws {
        let sandbox = Sandbox()
        let store = try await SQLiteContextStore.opened(sandbox)
        var model = LogModel()
        try await Self.fill(store, turns: 400, model: &model, bodyBytes: 3_000)
        let manifest = try await store.makeSnapshot()
        let whole = try await store.snapshotBytes(manifest.id, 0..<manifest.bytes)
        var generator = SeededGenerator(seed: 4)
        for _ in 0..<60 {
            let start = Int.random(in: 0..<manifest.bytes, using: &generator)
            let end = Int.random(in: start...manifest.bytes, using: &generator)
            #expect(try await store.snapshotBytes(manifest.id, start..<end) == Array(whole[start..<end]))
        }
        for range in [0..<manifest.bytes + 1, -1..<5, 0..<Int.max, manifest.bytes + 1..<manifest.bytes + 1] {
            let error = await #expect(throws: RuntimeError.self) { try await store.snapshotBytes(manifest.id, range) }
            #expect(error?.code == .invalidRequest)
        }
        let error = await #expect(throws: RuntimeError.self) {
            try await store.snapshotBytes(Bytes16(high: 1, low: 1), 0..<1)
        }
        #expect(error?.code == .notFound)
        await store.close()
    }

    @Test("Ten who ask at once get one snapshot; on disk there is no file with its text, and none with a name")
    func sharedAndSecret() async throws {
        let sandbox = Sandbox()
        let store = try await SQLiteContextStore.opened(sandbox)
        var model = LogModel()
        try await Self.fill(store, turns: 300, model: &model)
        let ids = try await withThrowingTaskGroup(of: Bytes16.self) { group in
            for _ in 0..<10 { group.addTask { try await store.makeSnapshot().id } }
            return try await group.reduce(into: Set()) { $0.insert($1) }
        }
        #expect(ids.count == 1)
        #expect(sandbox.names == ["contexts.db", "contexts.db-shm", "contexts.db-wal", "contexts.db.lock"])
        await store.close()
    }

    @Test("A spool's parts open in their own places only, and hold nothing in clear")
    func spool() throws {
        let sandbox = Sandbox()
        let spool = try SnapshotSpool(folder: sandbox.folder)
        let parts = (0..<3).map { [UInt8](repeating: UInt8($0 + 65), count: Limits.snapshotPartBytes) }
        for (index, part) in parts.enumerated() { try spool.write(part, at: index) }
        for (index, part) in parts.enumerated() { #expect(try spool.read(part: index, bytes: part.count) == part) }
        #expect(throws: RuntimeError.self) { try spool.read(part: 0, bytes: 100) }
        #expect(throws: RuntimeError.self) { try spool.read(part: 3, bytes: 100) }
        #expect(sandbox.names == [])
    }

    @Test("The shelf keeps a few, and lets the one go that was asked for the longest ago")
    func shelf() throws {
        let shelf = SnapshotShelf()
        let sandbox = Sandbox()
        func add(_ number: UInt64) throws {
            let manifest = SnapshotManifest(
                id: Bytes16(high: 0, low: number), bytes: 0, partBytes: 1, parts: [], operations: 0,
                vector: VersionVector())
            shelf.put(manifest, try SnapshotSpool(folder: sandbox.folder))
        }
        for number in 0..<UInt64(Limits.snapshots) { try add(number) }
        _ = try shelf.find(Bytes16(high: 0, low: 0))
        try add(100)
        #expect(throws: Never.self) { try shelf.find(Bytes16(high: 0, low: 0)) }
        #expect(throws: RuntimeError.self) { try shelf.find(Bytes16(high: 0, low: 1)) }
    }
}
