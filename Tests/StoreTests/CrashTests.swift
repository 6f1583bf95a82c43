import Core
import Testing

@testable import Store

@Suite struct CrashTests {
    @Test("A crash after any commit loses no acknowledged turn", arguments: [1, 2] as [UInt64])
    func acknowledgedStays(seed: UInt64) async throws {
        var generator = SeededGenerator(seed: seed)
        let sandbox = Sandbox()
        let store = try await SQLiteContextStore.opened(sandbox)
        let origin = try await store.recover().origin
        var model = LogModel()
        for number in 0..<25 {
            // Now and then one large enough for SQLite to move its log into the database within the commit.
            let size = Int.random(in: 0..<8, using: &generator) == 0 ? 2_500_000 : 40
            var commit = model.turn(
                origin, stream: Fixture.stream(UInt64.random(in: 0..<4, using: &generator)),
                text: String(repeating: "x", count: size), prefix: UInt64(number))
            if Int.random(in: 0..<10, using: &generator) == 0 {
                commit.erasures = model.operations(of: Fixture.stream(0)).map(\.dot)
                commit.removals = [Fixture.stream(0)]
            }
            model.apply(commit)
            try await store.commit(commit)
            let copy = sandbox.crashed()
            let recovered = try await SQLiteContextStore.opened(copy)
            #expect(try await model.difference(from: recovered) == nil, "seed \(seed), commit \(number)")
            await recovered.close()
        }
        await store.close()
    }

    @Test("A log torn anywhere gives the state after some commit, and a group is there as a whole or not at all")
    func tornLog() throws {
        let sandbox = Sandbox()
        let file = StoreFile(path: sandbox.path, key: Fixture.key, hostname: "host", environment: Fixture.environment)
        let writer = try StoreWriter(
            try file.open(), isInMemory: false, node: Fixture.node, environment: Fixture.environment)
        let origin = try writer.recover().origin
        var model = LogModel()
        var sizes: [Int] = []
        for group in 0..<6 {
            let commits = (0..<5).map { number in
                let commit = model.turn(origin, stream: Fixture.stream(UInt64(number)), text: "group \(group)")
                model.apply(commit)
                return commit
            }
            for result in writer.commit(commits) { try result.get() }
            sizes.append(Sandbox.read(sandbox.path + "-wal").count)
        }
        let database = Sandbox.read(sandbox.path)
        let log = Sandbox.read(sandbox.path + "-wal")
        #expect(sizes == sizes.sorted() && sizes.last == log.count)
        var generator = SeededGenerator(seed: 11)
        for round in 0..<60 {
            let cut = Int.random(in: 0...log.count, using: &generator)
            var torn = Array(log.prefix(cut))
            // What follows the tear is garbage in every second round, as of a block that was never written.
            if round.isMultiple(of: 2) {
                torn += (0..<8192).map { _ in UInt8.random(in: 0...255, using: &generator) }
            }
            let copy = Sandbox()
            Sandbox.write(database, to: copy.path)
            Sandbox.write(torn, to: copy.path + "-wal")
            let file = StoreFile(
                path: copy.path, key: Fixture.key, hostname: "host", environment: Fixture.environment)
            let writer = try StoreWriter(
                try file.open(), isInMemory: false, node: Fixture.node, environment: Fixture.environment)
            let operations = try writer.reader.operations(of: origin, after: 0, limit: .max)
            let whole = sizes.count { $0 <= cut } * 5
            #expect(operations == Array(model.operations(of: origin, after: 0).prefix(whole)), "cut at \(cut)")
            #expect(try writer.recover().heads.first?.sequence ?? 0 == UInt64(whole))
        }
    }

    @Test("Commits and restarts in any order keep exactly what was committed", arguments: 1...6 as ClosedRange<UInt64>)
    func restarts(seed: UInt64) async throws {
        var generator = SeededGenerator(seed: seed)
        var sandbox = Sandbox()
        var model = LogModel()
        var store = try await SQLiteContextStore.opened(sandbox)
        var own = try await store.recover().origin
        for step in 0..<60 {
            switch Int.random(in: 0..<12, using: &generator) {
            case 0:
                await store.close()
                store = try await SQLiteContextStore.opened(sandbox)
                own = try await store.recover().origin
                #expect(try await model.difference(from: store) == nil, "seed \(seed), step \(step)")
            case 1:
                let copy = sandbox.crashed()
                await store.close()
                sandbox = copy
                store = try await SQLiteContextStore.opened(sandbox)
                own = try await store.recover().origin
                #expect(try await model.difference(from: store) == nil, "seed \(seed), step \(step)")
            case 2:
                let stream = Fixture.stream(UInt64.random(in: 0..<6, using: &generator))
                let commit = model.deletion(of: stream)
                model.apply(commit)
                try await store.commit(commit)
            default:
                let origin = Bool.random(using: &generator) ? own : Origin(node: Fixture.peer, epoch: 2)
                let stream = UInt64.random(in: 0..<6, using: &generator)
                let commit = model.turn(
                    origin, stream: Fixture.stream(stream), owner: Fixture.owner(Int(stream % 2)),
                    text: "step \(step)", prefix: UInt64(step))
                model.apply(commit)
                try await store.commit(commit)
            }
        }
        #expect(try await model.difference(from: store) == nil, "seed \(seed)")
        await store.close()
    }

    @Test("Thirty-two writers at once: all is there, in each one's order")
    func manyWriters() async throws {
        let sandbox = Sandbox()
        let store = try await SQLiteContextStore.opened(sandbox)
        _ = try await store.recover()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<32 as Range<UInt64> {
                group.addTask {
                    var model = LogModel()
                    let origin = Origin(node: NodeID(Bytes16(high: 6, low: number)), epoch: 1)
                    for turn in 0..<10 {
                        let commit = model.turn(origin, stream: Fixture.stream(number), text: "turn \(turn)")
                        model.apply(commit)
                        try await store.commit(commit)
                        // Each reads its own writes at once.
                        let stored = try await store.operations(of: Fixture.stream(number))
                        #expect(stored == model.operations(of: Fixture.stream(number)))
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(try await store.statistics().operations == 320)
        let copy = sandbox.crashed()
        await store.close()
        let recovered = try await SQLiteContextStore.opened(copy)
        #expect(try await recovered.recover().heads.map(\.sequence) == [UInt64](repeating: 10, count: 32))
        await recovered.close()
    }

    @Test("Within a group a member that fails takes nothing with it and leaves nothing")
    func failingMember() throws {
        let sandbox = Sandbox()
        let file = StoreFile(path: sandbox.path, key: Fixture.key, hostname: "host", environment: Fixture.environment)
        let writer = try StoreWriter(
            try file.open(), isInMemory: false, node: Fixture.node, environment: Fixture.environment)
        let own = try writer.recover().origin
        var model = LogModel()
        let first = model.turn(own, stream: Fixture.stream(1), text: "first")
        model.apply(first)
        // It fails at its second operation, after its first one and a new conversation were written.
        let peer = Origin(node: Fixture.peer, epoch: 1)
        var bad = model.turn(peer, stream: Fixture.stream(8), owner: Fixture.owner(8), text: "bad", prefix: 8)
        bad.operations += first.operations
        let second = model.turn(own, stream: Fixture.stream(1), text: "second")
        model.apply(second)
        let third = model.turn(peer, stream: Fixture.stream(3), owner: Fixture.owner(3), text: "third")
        model.apply(third)
        let results = writer.commit([first, bad, second, third])
        #expect(results.map { if case .success = $0 { true } else { false } } == [true, false, true, true])
        #expect(try writer.reader.operations(of: Fixture.stream(1)) == model.operations(of: Fixture.stream(1)))
        #expect(try writer.reader.operations(of: Fixture.stream(3)) == model.operations(of: Fixture.stream(3)))
        #expect(try writer.reader.operations(of: Fixture.stream(8)).isEmpty)
        #expect(try writer.reader.conversation(Fixture.stream(8)) == nil)
        #expect(try writer.reader.firstMatch(of: [PrefixHash(rawValue: 8)]) == nil)
        let state = try writer.reader.state()
        #expect(state.operations == 3 && state.conversations == 2)
    }

    @Test("A full disk fails what does not fit, with advice; the rest stays and goes on")
    func fullDisk() throws {
        let sandbox = Sandbox()
        let file = StoreFile(path: sandbox.path, key: Fixture.key, hostname: "host", environment: Fixture.environment)
        let opened = try file.open()
        let writer = try StoreWriter(
            opened, isInMemory: false, node: Fixture.node, environment: Fixture.environment)
        let own = try writer.recover().origin
        try opened.database.execute("PRAGMA max_page_count = 60")
        var model = LogModel()
        var failures = 0
        for number in 0..<12 {
            let size = number % 3 == 1 ? 1_000_000 : 20
            let commit = model.turn(
                own, stream: Fixture.stream(1), text: String(repeating: "x", count: size), prefix: UInt64(number))
            switch writer.commit([commit])[0] {
            case .success: model.apply(commit)
            case .failure(let error):
                failures += 1
                #expect(size > 100 && error.code == .storageFull && error.message.contains("free space"))
            }
        }
        #expect(failures == 4 && model.operations.count == 8)
        // In company it takes the others with it at most, and each is told.
        let small = model.turn(Origin(node: Fixture.peer, epoch: 1), stream: Fixture.stream(2), text: "small")
        let large = model.turn(own, stream: Fixture.stream(1), text: String(repeating: "x", count: 1_000_000))
        let results = writer.commit([small, large])
        if case .success = results[0] { model.apply(small) }
        #expect(throws: RuntimeError.self) { try results[1].get() }
        let last = model.turn(own, stream: Fixture.stream(1), text: "last")
        try writer.commit([last])[0].get()
        model.apply(last)
        for stream in model.streams {
            #expect(try writer.reader.operations(of: stream) == model.operations(of: stream))
        }
        #expect(try writer.reader.state().operations == UInt64(model.operations.count))
        #expect(try writer.recover().heads == model.heads.values.sorted { $0.origin < $1.origin })
    }

    @Test("A key that does not open a store changes nothing of it, of its log neither, and makes no file")
    func otherKeyAfterCrash() async throws {
        let sandbox = Sandbox()
        let store = try await SQLiteContextStore.opened(sandbox)
        let origin = try await store.recover().origin
        var model = LogModel()
        for number in 0..<5 {
            let commit = model.turn(origin, stream: Fixture.stream(1), text: "turn \(number)")
            model.apply(commit)
            try await store.commit(commit)
        }
        let copy = sandbox.crashed()
        await store.close()
        Sandbox.write([], to: copy.path + ".lock")
        let before = copy.contents
        #expect(before["contexts.db-wal"]?.isEmpty == false)
        let other = try await SQLiteContextStore.opened(copy, key: Fixture.otherKey)
        #expect(other.isLocked && copy.contents == before)
        await other.close()
        let again = try await SQLiteContextStore.opened(copy)
        #expect(try await model.difference(from: again) == nil)
        await again.close()
    }

    @Test("Closing amid commits: what was acknowledged is there, what was refused is not")
    func closingAmidCommits() async throws {
        let sandbox = Sandbox()
        let store = try await SQLiteContextStore.opened(sandbox)
        _ = try await store.recover()
        let acknowledged = await withTaskGroup(of: UInt64?.self) { group in
            for number in 0..<64 as Range<UInt64> {
                group.addTask {
                    var model = LogModel()
                    let origin = Origin(node: NodeID(Bytes16(high: 6, low: number)), epoch: 1)
                    do {
                        try await store.commit(model.turn(origin, stream: Fixture.stream(number), text: "x"))
                        return number
                    } catch {
                        return nil
                    }
                }
                if number == 32 {
                    group.addTask {
                        await store.close()
                        return nil
                    }
                }
            }
            return await group.reduce(into: Set<UInt64>()) { if let number = $1 { $0.insert(number) } }
        }
        let again = try await SQLiteContextStore.opened(sandbox)
        let present = try await again.recover().heads.map(\.origin.node.bytes.low)
        #expect(Set(present) == acknowledged)
        await again.close()
    }
}
