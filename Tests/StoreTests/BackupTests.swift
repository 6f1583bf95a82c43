import Core
import Cryptography
import Glibc
import Testing

@testable import Store

@Suite struct BackupTests {
    static let secret = ArchiveSecret.passphrase(SymmetricKey(Array("a passphrase of some length".utf8)))
    static let swarm = Result { try ArchiveSecret.swarmKey(SwarmKeys(SymmetricKey([UInt8](repeating: 3, count: 32)))) }

    /// A store with turns of three conversations, deleted ones among them.
    static func filled(_ store: SQLiteContextStore, turns: Int, length: Int = 40) async throws -> LogModel {
        let origin = try await store.recover().origin
        var model = LogModel()
        for number in 0..<turns {
            let commit = model.turn(
                origin, stream: Fixture.stream(UInt64(number % 5)), owner: Fixture.owner(number % 2),
                text: "Quintaval \(number) " + String(repeating: "x", count: length), prefix: UInt64(number + 1) << 40)
            model.apply(commit)
            try await store.commit(commit)
        }
        let deletion = model.deletion(of: Fixture.stream(4))
        model.apply(deletion)
        try await store.commit(deletion)
        return model
    }

    static func archive(_ store: SQLiteContextStore, secret: ArchiveSecret) async throws -> [UInt8] {
        let backup = try await store.makeBackup(sealedBy: secret, version: "test", at: 1_800_000_000)
        var bytes: [UInt8] = []
        while let piece = try await backup.next() { bytes += piece }
        return bytes
    }

    static func verified(_ bytes: [UInt8], secret: ArchiveSecret, in sandbox: Sandbox) throws -> ArchiveSummary {
        let path = sandbox.folder + "/archive"
        Sandbox.write(bytes, to: path)
        return try ArchiveFile(path).verify { _ throws(RuntimeError) in secret }
    }

    @Test("What was there when a backup began comes back from it, whatever is written meanwhile")
    func roundTrip() async throws {
        let sandbox = Sandbox()
        let secret = try Self.swarm.get()
        let store = try await SQLiteContextStore.opened(sandbox)
        var model = try await Self.filled(store, turns: 3_000, length: 400)
        let backup = try await store.makeBackup(sealedBy: secret, version: "test", at: 1_800_000_000)
        let before = model
        var bytes = try #require(try await backup.next())
        let origin = try await store.recover().origin
        for number in 0..<20 {
            let commit = model.turn(origin, stream: Fixture.stream(9), text: "later \(number)")
            model.apply(commit)
            try await store.commit(commit)
        }
        while let piece = try await backup.next() { bytes += piece }
        await store.close()
        let summary = try Self.verified(bytes, secret: secret, in: sandbox)
        #expect(summary.counts.operations == UInt64(before.operations.count))
        #expect(summary.conversations == 4 && summary.counts.left == 0 && summary.node == Fixture.node)
        #expect(bytes.count > 2 * ArchiveChunk.bytes)
        #expect(!SecrecyTests.contains(Array("Quintaval".utf8), in: bytes))

        let other = Sandbox()
        let restore = StoreRestore(path: other.path, key: Fixture.otherKey, hostname: "elsewhere")
        let result = try restore.run(
            try ArchiveFile(sandbox.folder + "/archive"), opening: { _ throws(RuntimeError) in secret },
            replacing: false, at: 1_800_000_100)
        #expect(result.summary == summary && result.aside == nil)
        #expect(other.names == ["contexts.db", "contexts.db.lock"])
        let restored = try await SQLiteContextStore.opened(other, key: Fixture.otherKey, node: Fixture.peer)
        #expect(try await before.difference(from: restored) == nil)
        await restored.close()
    }

    @Test("A restored store begins a new epoch, also under the identity that it was taken from")
    func epoch() async throws {
        let sandbox = Sandbox()
        var environment = Fixture.environment
        environment.identityFolder = sandbox.folder + "/identity"
        environment.volatileFolder = sandbox.folder + "/volatile"
        let store = try await SQLiteContextStore.opened(sandbox, environment: environment)
        _ = try await Self.filled(store, turns: 10)
        let first = try await store.recover().origin
        let bytes = try await Self.archive(store, secret: Self.secret)
        await store.close()
        let path = sandbox.folder + "/archive"
        Sandbox.write(bytes, to: path)
        let restore = StoreRestore(path: sandbox.path, key: Fixture.key, hostname: "host")
        let secret = Self.secret
        let before = Sandbox.read(sandbox.path)
        let refused = #expect(throws: RuntimeError.self) {
            try restore.run(
                try ArchiveFile(path), opening: { _ throws(RuntimeError) in secret }, replacing: false, at: 1)
        }
        #expect(refused?.code == .configuration && Sandbox.read(sandbox.path) == before)
        let result = try restore.run(
            try ArchiveFile(path), opening: { _ throws(RuntimeError) in secret }, replacing: true, at: 1_800_000_001)
        #expect(Sandbox.read(try #require(result.aside)) == before)
        environment.seconds += 10
        let again = try await SQLiteContextStore.opened(sandbox, environment: environment)
        let second = try await again.recover().origin
        #expect(second.node == first.node && second.epoch >= UInt32(environment.seconds))
        await again.close()
    }

    @Test("The store that was there is put aside whole, with what only its log held; also twice in one second")
    func aside() async throws {
        let sandbox = Sandbox()
        let store = try await SQLiteContextStore.opened(sandbox)
        var model = try await Self.filled(store, turns: 10)
        let path = sandbox.folder + "/archive"
        Sandbox.write(try await Self.archive(store, secret: Self.secret), to: path)
        let last = model.turn(try await store.recover().origin, stream: Fixture.stream(1), text: "after the backup")
        model.apply(last)
        try await store.commit(last)
        // As if it had been killed now.
        let killed = sandbox.crashed()
        #expect(!Sandbox.read(killed.path + "-wal").isEmpty)
        await store.close()
        let restore = StoreRestore(path: killed.path, key: Fixture.key, hostname: "host")
        let secret = Self.secret
        var asides: Set<String> = []
        for _ in 0..<2 {
            let result = try restore.run(
                try ArchiveFile(path), opening: { _ throws(RuntimeError) in secret }, replacing: true, at: 1_800_000_001
            )
            let aside = try #require(result.aside)
            asides.insert(aside)
            // Under a second name: the first one never stood for nothing.
            #expect(!killed.names.contains { $0.contains(".before-") && $0.hasSuffix("-wal") })
            let copy = Sandbox()
            Sandbox.write(Sandbox.read(aside), to: copy.path)
            guard asides.count == 1 else { continue }
            let opened = try await SQLiteContextStore.opened(copy)
            #expect(try await model.difference(from: opened) == nil)
            await opened.close()
        }
        #expect(asides.count == 2)
    }

    struct Damage: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var words: String
        var change: @Sendable (inout [UInt8]) -> Void
    }

    static let head = ArchiveHeader.bytes
    static let damages = [
        Damage(testDescription: "nothing at all", words: "no backup") { $0 = [] },
        Damage(testDescription: "another file", words: "no backup") { $0 = Array("SQLite format 3 and so on".utf8) },
        Damage(testDescription: "cut off in the head", words: "cut off") { $0 = Array($0.prefix(40)) },
        Damage(testDescription: "a bit of the head", words: "head was damaged") { $0[20] ^= 1 },
        Damage(testDescription: "cut off after the head", words: "cut off") { $0 = Array($0.prefix(head)) },
        Damage(testDescription: "cut off in a chunk", words: "cut off") { $0.removeLast(100) },
        Damage(testDescription: "cut off between chunks", words: "cut off") {
            $0 = Array($0.prefix(head + 2 * ArchiveChunk.bytes))
        },
        Damage(testDescription: "a bit of a chunk", words: "chunk 1 of the backup was damaged") {
            $0[head + ArchiveChunk.bytes + 999] ^= 4
        },
        Damage(testDescription: "a bit of a chunk's number", words: "chunk 1") {
            $0[head + ArchiveChunk.bytes + 3] ^= 8
        },
        Damage(testDescription: "swapped chunks", words: "swapped") {
            let (first, second) = (head..<head + ArchiveChunk.bytes, head + ArchiveChunk.bytes)
            let one = Array($0[first])
            let two = Array($0[second..<second + ArchiveChunk.bytes])
            $0.replaceSubrange(first, with: two)
            $0.replaceSubrange(second..<second + ArchiveChunk.bytes, with: one)
        },
        Damage(testDescription: "swapped and numbered anew", words: "damaged or changed") {
            let (first, second) = (head + 4..<head + ArchiveChunk.bytes, head + ArchiveChunk.bytes)
            let one = Array($0[first])
            let two = Array($0[second + 4..<second + ArchiveChunk.bytes])
            $0.replaceSubrange(first, with: two)
            $0.replaceSubrange(second + 4..<second + ArchiveChunk.bytes, with: one)
        },
        Damage(testDescription: "a chunk left out", words: "swapped") {
            $0.removeSubrange(head..<head + ArchiveChunk.bytes)
        },
        Damage(testDescription: "bytes after the end", words: "chunk") { $0 += [1, 2, 3] },
    ]

    @Test("A backup that is not as it was made is refused, and it is said why", arguments: damages)
    func damaged(damage: Damage) async throws {
        let sandbox = Sandbox()
        let secret = try Self.swarm.get()
        let store = try await SQLiteContextStore.opened(sandbox)
        _ = try await Self.filled(store, turns: 900, length: 1_500)
        var bytes = try await Self.archive(store, secret: secret)
        await store.close()
        #expect(bytes.count > Self.head + 3 * ArchiveChunk.bytes)
        damage.change(&bytes)
        let error = #expect(throws: RuntimeError.self) { try Self.verified(bytes, secret: secret, in: sandbox) }
        #expect(error?.code == .corrupt && error?.message.contains(damage.words) == true, "\(error?.message ?? "")")
        // Nothing is left of trying to restore it.
        let other = Sandbox()
        #expect(throws: RuntimeError.self) {
            try StoreRestore(path: other.path, key: Fixture.key, hostname: "host").run(
                try ArchiveFile(sandbox.folder + "/archive"), opening: { _ throws(RuntimeError) in secret },
                replacing: false, at: 1)
        }
        #expect(other.names == ["contexts.db.lock"])
    }

    @Test("A wrong secret is told from damage")
    func wrongSecret() async throws {
        let sandbox = Sandbox()
        let store = try await SQLiteContextStore.opened(sandbox)
        _ = try await Self.filled(store, turns: 10)
        let mine = try Self.swarm.get()
        let bytes = try await Self.archive(store, secret: mine)
        let worded = try await Self.archive(store, secret: Self.secret)
        await store.close()
        let other = ArchiveSecret.swarmKey(try SwarmKeys(SymmetricKey([UInt8](repeating: 4, count: 32))))
        let key = #expect(throws: RuntimeError.self) { try Self.verified(bytes, secret: other, in: sandbox) }
        #expect(key?.code == .wrongKey && key?.message.contains("swarm join") == true)
        let wrong = ArchiveSecret.passphrase(SymmetricKey(Array("another".utf8)))
        let words = #expect(throws: RuntimeError.self) { try Self.verified(worded, secret: wrong, in: sandbox) }
        #expect(words?.code == .wrongKey && words?.message.contains("passphrase") == true)
    }

    @Test("Rows that no longer open are left out and counted; the others are all there")
    func left() async throws {
        let sandbox = Sandbox()
        var store = try await SQLiteContextStore.opened(sandbox)
        _ = try await Self.filled(store, turns: 30)
        await store.close()
        do {
            let database = try Database(.file(sandbox.path))
            try database.execute(
                "UPDATE operations SET sealed = zeroblob(60) WHERE id IN (SELECT id FROM operations LIMIT 3)")
        }
        store = try await SQLiteContextStore.opened(sandbox)
        let bytes = try await Self.archive(store, secret: Self.secret)
        await store.close()
        let summary = try Self.verified(bytes, secret: Self.secret, in: sandbox)
        #expect(summary.counts.left == 3 && summary.counts.operations == 27)
    }

    @Test("While a backup reads, writes go on and what is deleted is gone from the log once it has ended")
    func deletionMeanwhile() async throws {
        let sandbox = Sandbox()
        var environment = Fixture.environment
        environment.idle = .milliseconds(5)
        let store = try await SQLiteContextStore.opened(sandbox, environment: environment)
        var model = try await Self.filled(store, turns: 50)
        var backup: StoreBackup? = try await store.makeBackup(sealedBy: Self.secret, version: "", at: 1)
        _ = try await backup?.next()
        let copy = sandbox.crashed()
        let sealed = try Database(.file(copy.path)).first(
            "SELECT sealed FROM operations ORDER BY id LIMIT 1", read: { $0.blob(0) })
        let record = try #require(sealed)
        let deletion = model.deletion(of: Fixture.stream(0))
        model.apply(deletion)
        try await store.commit(deletion)
        backup = nil
        var attempts = 0
        while !SecrecyTests.found(record, in: sandbox).isEmpty, attempts < 2_000 {
            try await Task.sleep(for: .milliseconds(5))
            attempts += 1
        }
        #expect(SecrecyTests.found(record, in: sandbox) == [])
        #expect(try await model.difference(from: store) == nil)
        await store.close()
    }
}
