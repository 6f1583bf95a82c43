import Core
import Testing

@testable import Store

extension SQLiteContextStore {
    /// All of it, in the order of the log.
    func damaged(limit: Int) async throws -> [Dot] {
        var damaged: [Dot] = []
        var place: Dot?
        repeat {
            // Few at a time: where one part ends the next begins.
            let rows = try await scrub(after: place, rows: 7)
            let count = rows.sound.count + rows.damaged.count
            #expect(count <= 7)
            damaged += rows.damaged.map(\.dot)
            place = rows.next
        } while place != nil
        return Array(damaged.prefix(limit))
    }
}

@Suite struct DamageTests {
    /// A closed store of 40 turns in 6 conversations: its bytes, and what it holds.
    static func sample() async throws -> (bytes: [UInt8], model: LogModel) {
        let sandbox = Sandbox()
        let store = try await SQLiteContextStore.opened(sandbox)
        let origin = try await store.recover().origin
        var model = LogModel()
        for number in 0..<40 {
            let stream = UInt64(number % 6)
            let commit = model.turn(
                origin, stream: Fixture.stream(stream), owner: Fixture.owner(Int(stream % 2)),
                text: "turn \(number) " + String(repeating: "z", count: number * 9), prefix: UInt64(number) << 30)
            model.apply(commit)
            try await store.commit(commit)
        }
        await store.close()
        return (Sandbox.read(sandbox.path), model)
    }

    /// Reads everything; what comes back must be what was written. Returns whether anything was refused or missing.
    static func examine(_ sandbox: Sandbox, _ model: LogModel, _ note: Comment) async throws -> Bool {
        let store: SQLiteContextStore
        do {
            store = try await SQLiteContextStore.opened(sandbox)
        } catch let error as RuntimeError {
            return error.code != .internal
        }
        var isAffected = store.isLocked
        func reading<Value>(_ value: () async throws -> Value) async throws -> Value? {
            do {
                return try await value()
            } catch is RuntimeError {
                isAffected = true
                return nil
            }
        }
        let recovered = try await reading { try await store.recover() }
        for head in recovered?.heads ?? [] { #expect(head == model.heads[head.origin], note) }
        for stream in model.streams {
            let operations = try await reading { try await store.operations(of: stream) }
            // A look-up by a damaged fingerprint finds nothing at all; a part of a conversation is never shown.
            if let operations, !operations.isEmpty { #expect(operations == model.operations(of: stream), note) }
            if operations?.isEmpty == true { isAffected = true }
            let header = try await reading { try await store.conversation(stream) }
            if case .some(.some(let header)) = header { #expect(header == model.headers[stream], note) }
        }
        for origin in model.heads.keys {
            let whole = model.operations(of: origin, after: 0)
            let operations = try await reading { try await store.operations(of: origin, after: 0, limit: .max) }
            if let operations {
                #expect(operations == Array(whole.prefix(operations.count)), note)
                if operations.count < whole.count { isAffected = true }
            }
        }
        for number in 0..<2 {
            let owner = Fixture.owner(number)
            let headers = try await reading { try await store.conversations(of: owner, limit: 100) } ?? []
            for header in headers { #expect(header == model.headers[header.stream], note) }
            #expect(Set(headers.map(\.stream)).count == headers.count, note)
            if headers.count < model.headers(of: owner).count { isAffected = true }
        }
        for (prefix, expected) in model.prefixes {
            let match = try await reading { try await store.firstMatch(of: [prefix]) }
            if case .some(.some(let match)) = match { #expect(match == expected, note) } else { isAffected = true }
        }
        await store.close()
        return isAffected
    }

    @Test("A flipped bit is refused or harmless; nothing wrong is ever read", arguments: 0..<4 as Range<UInt64>)
    func flippedBits(seed: UInt64) async throws {
        let (bytes, model) = try await Self.sample()
        var generator = SeededGenerator(seed: seed)
        // Where something stands: much of a small database is empty.
        let places = bytes.indices.filter { bytes[$0] != 0 }
        var affected = 0
        for _ in 0..<40 {
            let place = places[Int.random(in: 0..<places.count, using: &generator)]
            let bit = UInt8.random(in: 0..<8, using: &generator)
            var damaged = bytes
            damaged[place] ^= 1 << bit
            let sandbox = Sandbox()
            Sandbox.write(damaged, to: sandbox.path)
            if try await Self.examine(sandbox, model, "seed \(seed), byte \(place), bit \(bit)") { affected += 1 }
        }
        #expect(affected > 10, "the damage must be felt for the test to mean anything")
    }

    @Test("A database cut short or with a page of garbage is refused or harmless", arguments: 0..<3 as Range<UInt64>)
    func lostPages(seed: UInt64) async throws {
        let (bytes, model) = try await Self.sample()
        var generator = SeededGenerator(seed: seed)
        var affected = 0
        for round in 0..<12 {
            var damaged = bytes
            let page = Int.random(in: 0..<bytes.count / 8192, using: &generator)
            switch round % 3 {
            case 0: damaged.removeLast(bytes.count - page * 8192)
            case 1: damaged.removeLast(Int.random(in: 1..<bytes.count, using: &generator))
            default:
                for index in page * 8192..<(page + 1) * 8192 {
                    damaged[index] = UInt8.random(in: 0...255, using: &generator)
                }
            }
            // An empty file is a new store.
            guard !damaged.isEmpty else { continue }
            let sandbox = Sandbox()
            Sandbox.write(damaged, to: sandbox.path)
            if try await Self.examine(sandbox, model, "seed \(seed), round \(round), page \(page)") { affected += 1 }
        }
        #expect(affected >= 6, "the damage must be felt for the test to mean anything")
    }

    @Test("A damaged operation stops its own conversation, by name, and no other")
    func damagedOperation() async throws {
        let (bytes, model) = try await Self.sample()
        let sandbox = Sandbox()
        Sandbox.write(bytes, to: sandbox.path)
        let hurt = model.operations(of: Fixture.stream(2))[3].dot
        do {
            let database = try Database(.file(sandbox.path))
            let id = 1 << Limits.sequenceBits | Int64(hurt.sequence)
            var record =
                try database.first("SELECT sealed FROM operations WHERE id = ?", .integer(id)) { $0.blob(0) } ?? []
            record[40] ^= 1
            try database.run("UPDATE operations SET sealed = ? WHERE id = ?", .blob(record), .integer(id))
        }
        let store = try await SQLiteContextStore.opened(sandbox)
        let error = await #expect(throws: RuntimeError.self) { try await store.operations(of: Fixture.stream(2)) }
        #expect(error?.code == .corrupt && error?.message.contains("\(hurt)") == true)
        #expect(try await store.operations(of: Fixture.stream(1)) == model.operations(of: Fixture.stream(1)))
        // It can be deleted all the same.
        try await store.commit(model.deletion(of: Fixture.stream(2)))
        let erased = try await store.operations(of: Fixture.stream(2))
        #expect(erased.count == 7 && erased.allSatisfy { $0.flags.contains(.erased) })
        #expect(erased.filter { $0.body == [UInt8](repeating: 0, count: 32) }.map(\.dot) == [hurt])
        await store.close()
    }

    /// A store with sealed turns in which some rows were made unreadable by `statement`.
    static func damaged(_ statement: String) async throws -> (sandbox: Sandbox, model: LogModel) {
        let (bytes, model) = try await Self.sample()
        let sandbox = Sandbox()
        Sandbox.write(bytes, to: sandbox.path)
        let database = try Database(.file(sandbox.path))
        try database.execute(statement)
        return (sandbox, model)
    }

    @Test(
        "What only says what other rows say is made anew at a start, once, and nothing is numbered twice for it",
        arguments: [
            "UPDATE meta SET state = x'010203'", "UPDATE origins SET sealed = x'010203'",
            "UPDATE origins SET epoch = epoch + 7", "DELETE FROM origins",
            "UPDATE origins SET sealed = x''; DELETE FROM origin_names; UPDATE meta SET state = x''",
        ])
    func mending(statement: String) async throws {
        let (sandbox, made) = try await Self.damaged(statement)
        var model = made
        let sound = try await Self.damaged("SELECT 1")
        let whole = try await SQLiteContextStore.opened(sound.sandbox)
        #expect(whole.mended.isEmpty)
        let statistics = try await whole.statistics()
        await whole.close()

        let store = try await SQLiteContextStore.opened(sandbox)
        #expect(!store.mended.isEmpty)
        let recovered = try await store.recover()
        let origin = try #require(model.heads.keys.first)
        #expect(recovered.heads == [try #require(model.heads[origin])])
        #expect(recovered.origin.node == origin.node && recovered.origin.epoch > origin.epoch)
        #expect(try await store.statistics().operations == statistics.operations)
        #expect(try await store.statistics().conversations == statistics.conversations)
        #expect(try await store.damaged(limit: 100) == [])
        let turn = model.turn(
            recovered.origin, stream: Fixture.stream(1), owner: Fixture.owner(1), text: "on", prefix: 5)
        model.apply(turn)
        try await store.commit(turn)
        await store.close()
        let again = try await SQLiteContextStore.opened(sandbox)
        #expect(again.mended.isEmpty)
        for stream in model.streams {
            #expect(try await again.operations(of: stream) == model.operations(of: stream))
        }
        await again.close()
    }

    @Test("How far an origin reaches is not guessed: where its operations do not tell, the store stays as it is")
    func beyondMending() async throws {
        let (sandbox, _) = try await Self.damaged(
            "UPDATE origins SET sealed = x''; DELETE FROM operations WHERE id = \(1 << Limits.sequenceBits + 9)")
        let error = await #expect(throws: RuntimeError.self) { try await SQLiteContextStore.opened(sandbox) }
        #expect(error?.code == .corrupt && error?.message.contains("origin") == true)
    }

    @Test("Damaged and missing operations are listed, and put in place again from a peer's copy; nothing else is")
    func repair() async throws {
        let base = 1 << Limits.sequenceBits
        let (sandbox, model) = try await Self.damaged(
            """
            UPDATE operations SET sealed = x'010203' WHERE id IN (\(base + 3), \(base + 17));
            UPDATE operations SET kind = 9 WHERE id = \(base + 18);
            DELETE FROM operations WHERE id IN (\(base + 25), \(base + 40))
            """)
        let store = try await SQLiteContextStore.opened(sandbox)
        let origin = try #require(model.heads.keys.first)
        let dots = [3, 17, 18, 25, 40].map { Dot(origin: origin, sequence: $0) }
        #expect(try await store.damaged(limit: 100) == dots)
        #expect(try await store.damaged(limit: 2) == Array(dots.prefix(2)))
        // A peer sends all it has; one operation that is whole here is another there.
        var copies = model.operations(of: origin, after: 0)
        copies[0].body = [9]
        #expect(try await store.repair(copies) == dots)
        #expect(try await store.damaged(limit: 100) == [])
        for stream in model.streams {
            #expect(try await store.operations(of: stream) == model.operations(of: stream))
        }
        #expect(try await store.repair(copies) == [])
        #expect(
            try await store.repair([
                Operation(
                    dot: Dot(origin: origin, sequence: 41), kind: .userTurn, timestamp: HybridTimestamp(rawValue: 1),
                    stream: Fixture.stream(1), body: [])
            ]) == [])
        await store.close()
    }

    @Test(
        "A conversation's own row is put in place again with its operations, once all of them are there",
        arguments: [
            "DELETE FROM streams WHERE id = 3", "UPDATE streams SET sealed = x'010203' WHERE id = 3",
            "DELETE FROM streams WHERE id = (SELECT max(id) FROM streams)",
        ])
    func repairStream(statement: String) async throws {
        let (sandbox, model) = try await Self.damaged(
            statement + "; DELETE FROM operations WHERE id = \(1 << Limits.sequenceBits + 9)")
        let store = try await SQLiteContextStore.opened(sandbox)
        let origin = try #require(model.heads.keys.first)
        let damaged = try await store.damaged(limit: 100)
        #expect(damaged.count > 5)
        let copies = model.operations(of: origin, after: 0)
        let first = try await store.repair(Array(copies.prefix(20)))
        let second = try await store.repair(copies)
        #expect(Set(first + second).isSuperset(of: [Dot(origin: origin, sequence: 9)]))
        #expect(try await store.damaged(limit: 100) == [])
        let lost = try await store.recount()
        #expect(lost.count == 1)
        #expect(try await store.recount() == [])
        for stream in model.streams {
            #expect(try await store.operations(of: stream) == model.operations(of: stream))
        }
        await store.close()
    }

    @Test("What is left of a damaged conversation can be deleted, and the conversation begun anew")
    func deleteRemains() async throws {
        let base = 1 << Limits.sequenceBits
        let (sandbox, made) = try await Self.damaged(
            "UPDATE operations SET sealed = x'010203' WHERE id = \(base + 3); DELETE FROM operations WHERE id = \(base + 9)"
        )
        var model = made
        let store = try await SQLiteContextStore.opened(sandbox)
        let origin = try #require(model.heads.keys.first)
        let stream = try #require(model.operations[Dot(origin: origin, sequence: 3)]?.stream)
        #expect(model.operations[Dot(origin: origin, sequence: 9)]?.stream == stream)
        let remains = try await store.remains(of: stream)
        #expect(remains.map(\.dot) == model.operations(of: stream).map(\.dot).filter { $0.sequence != 9 })
        #expect(remains.filter { $0.body.isEmpty }.map(\.dot.sequence) == [3])
        let deletion = model.deletion(of: stream)
        try await store.commit(deletion)
        model.apply(deletion)
        #expect(try await store.operations(of: stream).allSatisfy { $0.flags.contains(.erased) })
        #expect(try await store.conversation(stream) == nil)
        await store.close()
    }

    @Test("What was deleted while it was damaged stays deleted when it is put in place again")
    func repairErased() async throws {
        let base = 1 << Limits.sequenceBits
        let (sandbox, made) = try await Self.damaged(
            "UPDATE operations SET sealed = x'010203' WHERE id = \(base + 3)")
        var model = made
        let store = try await SQLiteContextStore.opened(sandbox)
        let origin = try #require(model.heads.keys.first)
        let dot = Dot(origin: origin, sequence: 3)
        let copy = try #require(model.operations[dot])
        let deletion = model.deletion(of: copy.stream)
        try await store.commit(deletion)
        model.apply(deletion)
        #expect(try await store.damaged(limit: 9) == [dot])
        #expect(try await store.repair([copy]) == [dot])
        #expect(try await store.operations(of: copy.stream) == model.operations(of: copy.stream))
        #expect(try await store.damaged(limit: 9) == [])
        await store.close()
    }

    @Test("Rows moved to another conversation, place or kind, and rows taken away, are noticed")
    func movedRows() async throws {
        let (bytes, model) = try await Self.sample()
        for statement in [
            "UPDATE operations SET stream = 1 WHERE id = (SELECT max(id) FROM operations WHERE stream = 3)",
            "UPDATE operations SET kind = 2 WHERE stream = 1",
            "UPDATE operations SET sealed = (SELECT sealed FROM operations WHERE stream = 3) WHERE stream = 1",
            "DELETE FROM operations WHERE id = (SELECT max(id) FROM operations WHERE stream = 1)",
            "UPDATE streams SET sealed = (SELECT sealed FROM streams WHERE id = 2) WHERE id = 1",
        ] {
            let sandbox = Sandbox()
            Sandbox.write(bytes, to: sandbox.path)
            do {
                let database = try Database(.file(sandbox.path))
                try database.execute(statement)
            }
            let store = try await SQLiteContextStore.opened(sandbox)
            let error = await #expect(throws: RuntimeError.self, "\(statement)") {
                try await store.operations(of: Fixture.stream(0))
            }
            #expect(error?.code == .corrupt)
            #expect(try await store.operations(of: Fixture.stream(4)) == model.operations(of: Fixture.stream(4)))
            await store.close()
        }
    }
}
