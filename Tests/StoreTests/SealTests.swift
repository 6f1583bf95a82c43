import Core
import Testing

@testable import Store

@Suite struct SealTests {
    static let author = [UInt8](repeating: 3, count: 32)

    static func seal(_ origin: Origin, _ sequence: UInt64) -> BatchSeal {
        let mark = withUnsafeBytes(of: sequence.bigEndian) { Array($0) }
        return BatchSeal(
            origin: origin, sequence: sequence, author: author,
            signature: mark + origin.node.bytes.bytes + [UInt8](repeating: 9, count: 40))
    }

    /// The store with `counts` operations, a seal after each count.
    static func filled(
        _ store: SQLiteContextStore, _ counts: [Int], origin: Origin? = nil, bodyBytes: Int = 10
    ) async throws -> (origin: Origin, model: LogModel) {
        let own = try await store.recover().origin
        let origin = origin ?? own
        var model = LogModel()
        for count in counts {
            var commit = Commit()
            for _ in 0..<count {
                let turn = model.turn(
                    origin, stream: Fixture.stream(UInt64(count % 3)), text: String(repeating: "x", count: bodyBytes))
                model.apply(turn)
                commit.operations += turn.operations
                commit.heads = turn.heads
                commit.conversations = turn.conversations
            }
            commit.seals = [seal(origin, commit.heads[0].sequence)]
            try await store.commit(commit)
        }
        return (origin, model)
    }

    /// The ends of the batches that lead from `start` to the head.
    static func walk(
        _ store: SQLiteContextStore, _ origin: Origin, _ model: LogModel, from start: UInt64 = 0
    ) async throws -> [UInt64] {
        var ends: [UInt64] = []
        var position = start
        while let batch = try await store.batch(of: origin, after: position) {
            #expect(batch.seal == seal(origin, batch.seal.sequence))
            #expect(batch.operations.map(\.dot.sequence) == Array(position + 1...batch.seal.sequence))
            #expect(
                batch.operations
                    == model.operations(of: origin, after: position).prefix(batch.operations.count).map { $0 })
            position = batch.seal.sequence
            ends.append(position)
        }
        return ends
    }

    @Test("Any part of a stream of lone operations travels, in batches within the bounds")
    func lone() async throws {
        let sandbox = Sandbox()
        let store = try await SQLiteContextStore.opened(sandbox)
        let (origin, model) = try await Self.filled(store, [Int](repeating: 1, count: 600))
        #expect(try await Self.walk(store, origin, model) == [256, 512, 600])
        #expect(try await Self.walk(store, origin, model, from: 100) == [320, 576, 600])
        #expect(try await Self.walk(store, origin, model, from: 599) == [600])
        #expect(try await store.batch(of: origin, after: 600) == nil)
        #expect(try await store.batch(of: origin, after: .max) == nil)
        #expect(try await store.batch(of: Origin(node: Fixture.peer, epoch: 1), after: 0) == nil)
        #expect(try await store.recover().seals == [Self.seal(origin, 600)])
        await store.close()
    }

    @Test("Long operations travel in batches of about half a megabyte")
    func long() async throws {
        let sandbox = Sandbox()
        let store = try await SQLiteContextStore.opened(sandbox)
        let (origin, model) = try await Self.filled(store, [Int](repeating: 1, count: 40), bodyBytes: 100_000)
        let ends = try await Self.walk(store, origin, model)
        #expect(ends.last == 40)
        for (start, end) in zip([0] + ends, ends) { #expect((5...10).contains(end - start) || end == 40) }
        await store.close()
    }

    @Test("Where seals are far apart a batch is as long as it must be")
    func farApart() async throws {
        let sandbox = Sandbox()
        let store = try await SQLiteContextStore.opened(sandbox)
        let (origin, model) = try await Self.filled(store, [300, 10, 700, 1, 1])
        #expect(try await Self.walk(store, origin, model) == [300, 310, 1010, 1012])
        await store.close()
    }

    @Test("Operations without a seal do not travel, and do once it comes")
    func lateSeal() async throws {
        let sandbox = Sandbox()
        let store = try await SQLiteContextStore.opened(sandbox)
        let (origin, made) = try await Self.filled(store, [2])
        var model = made
        for _ in 0..<200 {
            let turn = model.turn(origin, stream: Fixture.stream(1), text: "x")
            model.apply(turn)
            try await store.commit(turn)
        }
        #expect(try await Self.walk(store, origin, model) == [2])
        // As an upgraded host does for what it wrote before there were seals.
        try await store.commit(Commit(seals: [50, 100, 150].map { Self.seal(origin, $0) }))
        #expect(try await Self.walk(store, origin, model, from: 10) == [150])
        try await store.commit(Commit(seals: [Self.seal(origin, 202)]))
        #expect(try await Self.walk(store, origin, model, from: 60) == [202])
        #expect(try await Self.walk(store, origin, model, from: 10) == [202])
        // One that is older than the latest changes nothing; one past the head is our own mistake.
        try await store.commit(Commit(seals: [Self.seal(origin, 7)]))
        #expect(try await store.recover().seals == [Self.seal(origin, 202)])
        await #expect(throws: RuntimeError.self) {
            try await store.commit(Commit(seals: [Self.seal(origin, 203)]))
        }
        await store.close()
    }

    @Test("Seals outlive a restart, a crash and a change of the data key's row, of several origins")
    func restart() async throws {
        var sandbox = Sandbox()
        let store = try await SQLiteContextStore.opened(sandbox)
        let (own, model) = try await Self.filled(store, [Int](repeating: 1, count: 100))
        let peer = Origin(node: Fixture.peer, epoch: 3)
        let (_, theirs) = try await Self.filled(store, [Int](repeating: 20, count: 10), origin: peer)
        sandbox = sandbox.crashed()
        await store.close()
        let again = try await SQLiteContextStore.opened(sandbox)
        #expect(
            try await again.recover().seals
                == [Self.seal(own, 100), Self.seal(peer, 200)].sorted { $0.origin < $1.origin })
        #expect(try await Self.walk(again, own, model, from: 70) == [100])
        #expect(try await Self.walk(again, peer, theirs) == [200])
        #expect(try await Self.walk(again, peer, theirs, from: 20) == [200])
        await again.close()
    }

    @Test("Erased operations travel as hashes; of a damaged stream all goes but what shares a seal with the damage")
    func erasedAndDamaged() async throws {
        let sandbox = Sandbox()
        let store = try await SQLiteContextStore.opened(sandbox)
        let (origin, made) = try await Self.filled(store, [Int](repeating: 1, count: 130))
        var model = made
        let erasure = Commit(erasures: (10...20).map { Dot(origin: origin, sequence: $0) })
        try await store.commit(erasure)
        model.apply(erasure)
        #expect(try await Self.walk(store, origin, model) == [130])
        await store.close()
        do {
            let database = try Database(.file(sandbox.path))
            let id = 1 << Limits.sequenceBits | 100 as Int64
            try database.run("UPDATE operations SET sealed = ? WHERE id = ?", .blob([1, 2]), .integer(id))
        }
        let again = try await SQLiteContextStore.opened(sandbox)
        let before = try #require(try await again.batch(of: origin, after: 0))
        #expect(before.seal.sequence == 64 && before.operations.map(\.dot.sequence) == Array(1...64))
        let error = await #expect(throws: RuntimeError.self) { try await again.batch(of: origin, after: 64) }
        #expect(error?.code == .corrupt)
        #expect(try await Self.walk(again, origin, model, from: 100) == [130])
        await again.close()
    }

    @Test("A store of the first format opens, keeps what it holds, and takes seals", arguments: [true, false])
    func migration(isClean: Bool) async throws {
        let sandbox = Sandbox()
        let store = try await SQLiteContextStore.opened(sandbox)
        let origin = try await store.recover().origin
        var model = LogModel()
        for number in 0..<30 {
            let turn = model.turn(
                origin, stream: Fixture.stream(UInt64(number % 3)), text: "\(number)", prefix: UInt64(number))
            model.apply(turn)
            try await store.commit(turn)
        }
        await store.close()
        try Self.makeFirstFormat(sandbox, isClean: isClean)
        let again = try await SQLiteContextStore.opened(sandbox)
        let recovered = try await again.recover()
        #expect(recovered.seals == [] && (recovered.origin.epoch == 1) == isClean)
        #expect(try await model.difference(from: again) == nil)
        #expect(try await again.batch(of: origin, after: 0) == nil)
        try await again.commit(Commit(seals: [Self.seal(origin, 30)]))
        #expect(try await Self.walk(again, origin, model) == [30])
        await again.close()
    }

    /// What the version before this one left: no table of seals, a boot id and no count of runs in the state.
    static func makeFirstFormat(_ sandbox: Sandbox, isClean: Bool) throws {
        let file = StoreFile(path: sandbox.path, key: Fixture.key, hostname: "host", environment: Fixture.environment)
        let opened = try file.open()
        let state = try StoreReader(database: opened.database, ring: opened.ring).state()
        var writer = ByteWriter()
        writer.put(state.node.bytes)
        writer.put(bigEndian: state.epoch)
        writer.put(isClean ? 1 : 0)
        writer.put(lengthPrefixed: Array("boot-1".utf8))
        writer.put(varint: state.conversations)
        writer.put(varint: state.operations)
        writer.put(varint: state.records)
        try opened.database.run(
            "UPDATE meta SET state = ? WHERE id = 1", .blob(try opened.ring.seal(writer.bytes, as: .state)))
        try opened.database.execute("DROP TABLE seals; PRAGMA user_version = 1")
    }
}
