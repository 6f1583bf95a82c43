import Core
import Cryptography
import Glibc
import Testing

@testable import Store

@Suite struct StoreFileTests {
    /// A closed store with a few turns in it.
    static func filled(
        _ sandbox: Sandbox, key: StoreKey = Fixture.key, hostname: String = "host", turns: Int = 5
    ) async throws -> LogModel {
        let store = try await SQLiteContextStore.opened(sandbox, key: key, hostname: hostname)
        let origin = try await store.recover().origin
        var model = LogModel()
        for number in 0..<turns {
            let commit = model.turn(
                origin, stream: Fixture.stream(UInt64(number % 3)), text: "turn \(number)", prefix: UInt64(number))
            model.apply(commit)
            try await store.commit(commit)
        }
        await store.close()
        return model
    }

    struct Mismatch: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var made: StoreKey
        var opened: StoreKey
        var hostname = "host"
        /// A word of the advice.
        var advice: String
    }

    static let device = StoreKey.device(SymmetricKey([UInt8](repeating: 5, count: 32)))
    static let mismatches = [
        Mismatch(
            testDescription: "another custom key", made: Fixture.key, opened: Fixture.otherKey,
            advice: "mcp.encryption_key is not the one"),
        Mismatch(
            testDescription: "a device key for a custom one", made: Fixture.key, opened: device,
            advice: "set that key again"),
        Mismatch(
            testDescription: "a custom key for a device key", made: device, opened: Fixture.key,
            advice: "take the key out"),
        Mismatch(
            testDescription: "the device key on another host", made: device, opened: device, hostname: "elsewhere",
            advice: "device.key"),
    ]

    @Test("A key that does not open the store leaves every file alone", arguments: mismatches, [false, true])
    func wrongKey(mismatch: Mismatch, afterCrash: Bool) async throws {
        var sandbox = Sandbox()
        let model = try await Self.filled(sandbox, key: mismatch.made)
        if afterCrash {
            let store = try await SQLiteContextStore.opened(sandbox, key: mismatch.made)
            _ = try await store.recover()
            sandbox = sandbox.crashed()
            await store.close()
        } else {
            unlink(sandbox.path + ".lock")
        }
        let before = sandbox.contents
        #expect(before.keys.contains("contexts.db-wal") == afterCrash)
        let store = try await SQLiteContextStore.opened(
            sandbox, key: mismatch.opened, hostname: mismatch.hostname)
        #expect(store.isLocked)
        let error = await #expect(throws: RuntimeError.self) { try await store.recover() }
        #expect(error?.code == .wrongKey && error?.message.contains(mismatch.advice) == true)
        let later = await #expect(throws: RuntimeError.self) { try await store.commit(Commit()) }
        #expect(later?.code == .wrongKey)
        #expect(throws: Never.self) { try store.key(label: "x") }
        await store.close()
        #expect(sandbox.contents == before)
        // The right key still opens it.
        let again = try await SQLiteContextStore.opened(sandbox, key: mismatch.made)
        #expect(!again.isLocked)
        #expect(try await model.difference(from: again) == nil)
        await again.close()
    }

    @Test("The same custom key opens a copy of the store on another host")
    func customKeyTravels() async throws {
        let sandbox = Sandbox()
        let model = try await Self.filled(sandbox, hostname: "a")
        let copy = sandbox.crashed()
        let store = try await SQLiteContextStore.opened(copy, node: Fixture.peer, hostname: "b")
        #expect(!store.isLocked)
        #expect(try await model.difference(from: store) == nil)
        await store.close()
    }

    @Test(
        "A file that is no store of ours is refused and left alone",
        arguments: [
            [UInt8](repeating: 65, count: 10), [UInt8](repeating: 0, count: 20_000),
            Array("SQLite format 3".utf8) + [UInt8](repeating: 0, count: 5_000),
        ])
    func notAStore(content: [UInt8]) async throws {
        let sandbox = Sandbox()
        Sandbox.write(content, to: sandbox.path)
        let error = await #expect(throws: RuntimeError.self) { try await SQLiteContextStore.opened(sandbox) }
        #expect(error?.code == .corrupt)
        #expect(error?.message.contains(sandbox.folder) == false)
        #expect(sandbox.contents == ["contexts.db": content])
    }

    @Test("A database of another program is refused and left alone")
    func foreignDatabase() async throws {
        let sandbox = Sandbox()
        Sandbox.write([], to: sandbox.path)
        do {
            let database = try Database(.file(sandbox.path))
            try database.execute("CREATE TABLE mine (id INTEGER); INSERT INTO mine VALUES (1)")
        }
        let before = sandbox.contents
        let error = await #expect(throws: RuntimeError.self) { try await SQLiteContextStore.opened(sandbox) }
        #expect(error?.code == .corrupt && error?.message.contains("another program") == true)
        #expect(sandbox.contents == before)
    }

    @Test("A store of a newer format is refused and left alone")
    func newerFormat() async throws {
        let sandbox = Sandbox()
        _ = try await Self.filled(sandbox)
        do {
            let database = try Database(.file(sandbox.path))
            try database.execute("PRAGMA user_version = \(Schema.version + 1)")
        }
        unlink(sandbox.path + ".lock")
        let before = sandbox.contents
        let error = await #expect(throws: RuntimeError.self) { try await SQLiteContextStore.opened(sandbox) }
        #expect(error?.code == .configuration && error?.message.contains("newer version") == true)
        #expect(sandbox.contents == before)
    }

    @Test("A second instance is told that the store is in use, until the first is done with it")
    func inUse() async throws {
        let sandbox = Sandbox()
        let first = try await SQLiteContextStore.opened(sandbox)
        _ = try await first.recover()
        let error = await #expect(throws: RuntimeError.self) { try await SQLiteContextStore.opened(sandbox) }
        #expect(error?.isStoreInUse == true && error?.code == .unavailable)
        #expect(RuntimeError(.unavailable, "other").isStoreInUse == false)
        await first.close()
        let second = try await SQLiteContextStore.opened(sandbox)
        #expect(try await second.recover().heads.isEmpty)
        await second.close()
    }

    @Test("A missing folder is made for this user alone, and so is every file")
    func modes() async throws {
        let sandbox = Sandbox()
        let folder = sandbox.folder + "/a/b"
        let old = umask(0)
        defer { umask(old) }
        let store = try await SQLiteContextStore.open(
            .file(folder + "/c.db"), key: Fixture.key, node: Fixture.node, hostname: "host")
        _ = try await store.recover()
        _ = try await store.statistics()
        func mode(_ path: String) -> mode_t {
            var status = stat()
            return stat(path, &status) == 0 ? status.st_mode & 0o777 : 0
        }
        #expect(mode(sandbox.folder + "/a") == 0o700 && mode(folder) == 0o700)
        let names = Sandbox.names(folder)
        #expect(names == ["c.db", "c.db-shm", "c.db-wal", "c.db.lock"])
        for name in names { #expect(mode(folder + "/" + name) == 0o600, "\(name)") }
        await store.close()
        #expect(Sandbox.names(folder) == ["c.db", "c.db.lock"])
    }

    @Test("An empty file and what a crash left of making a store are no hindrance")
    func leftovers() async throws {
        let sandbox = Sandbox()
        Sandbox.write([], to: sandbox.path)
        Sandbox.write([1, 2, 3], to: sandbox.path + ".new")
        Sandbox.write([1, 2, 3], to: sandbox.path + ".new-journal")
        let model = try await Self.filled(sandbox)
        let store = try await SQLiteContextStore.opened(sandbox)
        #expect(try await model.difference(from: store) == nil)
        await store.close()
        #expect(sandbox.names == ["contexts.db", "contexts.db.lock"])
    }

    @Test("A path that cannot be used is told without being shown")
    func unusablePath() async throws {
        let sandbox = Sandbox()
        Sandbox.write([1], to: sandbox.folder + "/file")
        for path in [sandbox.folder, sandbox.folder + "/file/x.db"] {
            let error = await #expect(throws: RuntimeError.self) {
                try await SQLiteContextStore.open(
                    .file(path), key: Fixture.key, node: Fixture.node, hostname: "host")
            }
            #expect(error?.message.contains(sandbox.folder) == false)
        }
    }

    @Test("A path with unusual characters leads to that file")
    func unusualPath() async throws {
        let sandbox = Sandbox()
        let name = "a %41?b#c&d=ü;é.db"
        let store = try await SQLiteContextStore.open(
            .file(sandbox.folder + "/" + name), key: Fixture.key, node: Fixture.node, hostname: "host")
        await store.close()
        #expect(sandbox.names == [name, name + ".lock"])
    }

    @Test("Every connection has the settings that durability and secrecy hang on")
    func durability() throws {
        let sandbox = Sandbox()
        let file = StoreFile(
            path: sandbox.path, key: Fixture.key, hostname: "host", environment: Fixture.environment)
        let opened = try file.open()
        let reading = try file.openForReading()
        for database in [opened.database, reading] {
            #expect(try database.first("PRAGMA synchronous") { $0.integer(0) } == 1)
            #expect(try database.first("PRAGMA journal_mode") { $0.text(0) } == "wal")
            #expect(try database.first("PRAGMA secure_delete") { $0.integer(0) } == 1)
            #expect(try database.first("PRAGMA temp_store") { $0.integer(0) } == 2)
            #expect(try database.first("PRAGMA trusted_schema") { $0.integer(0) } == 0)
        }
        #expect(throws: RuntimeError.self) { try reading.run("DELETE FROM operations") }
    }
}
