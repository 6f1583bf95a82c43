import Core
import Glibc
import Testing

@testable import Store

@Suite struct SecrecyTests {
    static func contains(_ needle: [UInt8], in bytes: [UInt8]) -> Bool {
        guard let first = needle.first else { return false }
        return bytes.withUnsafeBytes { bytes in
            guard var rest = bytes.baseAddress else { return false }
            var left = bytes.count
            while left >= needle.count, let hit = memchr(rest, Int32(first), left) {
                left -= UnsafeRawPointer(hit) - rest
                if left >= needle.count, memcmp(hit, needle, needle.count) == 0 { return true }
                rest = UnsafeRawPointer(hit) + 1
                left -= 1
            }
            return false
        }
    }

    static func found(_ needle: [UInt8], in sandbox: Sandbox) -> [String] {
        sandbox.contents.filter { contains(needle, in: $0.value) }.map(\.key).sorted()
    }

    @Test("No text, id, owner or name of a stream stands in any file, at work or at rest")
    func nothingReadable() async throws {
        let sandbox = Sandbox()
        let store = try await SQLiteContextStore.opened(sandbox)
        let origin = try await store.recover().origin
        var model = LogModel()
        let owner = Owner(name: "owner-Alice")
        for number in 0..<50 {
            let commit = model.turn(
                origin, stream: Fixture.stream(UInt64(number % 5)), owner: owner, text: "my name is Alice \(number)")
            model.apply(commit)
            try await store.commit(commit)
        }
        let id = try #require(model.headers[Fixture.stream(1)]).id
        let needles: [[UInt8]] = [
            Array("Alice".utf8), Array("my name".utf8), Array("user".utf8), Array(id.rawValue.utf8),
            Array(owner.name.utf8), Fixture.stream(1).bytes.bytes,
        ]
        let operation = try #require(model.operations(of: Fixture.stream(1)).first)
        for needle in needles[0...2] { #expect(Self.contains(needle, in: operation.body)) }
        #expect(sandbox.names.contains("contexts.db-wal"))
        for needle in needles { #expect(Self.found(needle, in: sandbox) == []) }
        await store.close()
        for needle in needles { #expect(Self.found(needle, in: sandbox) == []) }
        // What may be seen: which host wrote.
        #expect(Self.found(origin.node.bytes.bytes, in: sandbox) == ["contexts.db"])
    }

    @Test("What is deleted stands in no file any more, not even sealed")
    func deleted() async throws {
        let sandbox = Sandbox()
        let store = try await SQLiteContextStore.opened(sandbox)
        let origin = try await store.recover().origin
        var model = LogModel()
        for number in 0..<30 {
            let commit = model.turn(
                origin, stream: Fixture.stream(UInt64(number % 2)), text: "turn \(number)",
                prefix: UInt64(number + 1) << 50)
            model.apply(commit)
            try await store.commit(commit)
        }
        func records(_ statement: String) throws -> [[UInt8]] {
            // From a copy: a second connection to the live file would be in the way.
            let copy = sandbox.crashed()
            let database = try Database(.file(copy.path))
            var records: [[UInt8]] = []
            try database.forEach(statement) { records.append($0.blob(0)) }
            return records
        }
        let doomed = try records("SELECT sealed FROM operations WHERE stream = 1")
        let kept = try records("SELECT sealed FROM operations WHERE stream = 2")
        #expect(doomed.count == 15 && kept.count == 15)
        for record in doomed + kept { #expect(Self.found(record, in: sandbox) != []) }
        try await store.commit(model.deletion(of: Fixture.stream(0)))
        for record in doomed { #expect(Self.found(record, in: sandbox) == []) }
        for record in kept { #expect(Self.found(record, in: sandbox) == ["contexts.db"]) }
        await store.close()
        for record in doomed { #expect(Self.found(record, in: sandbox) == []) }
    }

    @Test("The room of what is deleted is there for what comes after", arguments: [1, 5])
    func room(conversations: Int) async throws {
        let sandbox = Sandbox()
        let store = try await SQLiteContextStore.opened(sandbox)
        let origin = try await store.recover().origin
        var model = LogModel()
        for number in 0..<60 {
            let stream = Fixture.stream(UInt64(number % conversations))
            let commit = model.turn(origin, stream: stream, text: String(repeating: "x", count: 3_000 + number))
            model.apply(commit)
            try await store.commit(commit)
        }
        func pages() throws -> Int64 {
            let copy = sandbox.crashed()
            defer { withExtendedLifetime(copy) {} }
            let database = try Database(.file(copy.path))
            let all = try database.first("PRAGMA page_count") { $0.integer(0) } ?? 0
            return try all - (database.first("PRAGMA freelist_count") { $0.integer(0) } ?? 0)
        }
        let before = try pages()
        for number in 0..<conversations {
            let commit = model.deletion(of: Fixture.stream(UInt64(number)))
            model.apply(commit)
            try await store.commit(commit)
        }
        #expect(try pages() < before / 2)
        #expect(try await model.difference(from: store) == nil)
        await store.close()
    }

    @Test("The log is emptied once nothing is written for a while")
    func idle() async throws {
        let sandbox = Sandbox()
        var environment = Fixture.environment
        environment.idle = .milliseconds(1)
        let store = try await SQLiteContextStore.opened(sandbox, environment: environment)
        let origin = try await store.recover().origin
        var model = LogModel()
        let commit = model.turn(origin, stream: Fixture.stream(1), text: "x")
        model.apply(commit)
        try await store.commit(commit)
        let isEmpty = ContinuousClock.now + .seconds(20)
        while Sandbox.read(sandbox.path + "-wal").count > 0, ContinuousClock.now < isEmpty { await Task.yield() }
        #expect(Sandbox.read(sandbox.path + "-wal").isEmpty)
        #expect(try await model.difference(from: store) == nil)
        await store.close()
    }
}
