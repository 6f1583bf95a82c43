import Core
import Cryptography
import Glibc
import Synchronization
import Testing

@testable import Store

@Suite struct DataKeyTests {
    static let device = StoreKey.device(SymmetricKey([UInt8](repeating: 5, count: 32)))

    static func environment(_ sandbox: Sandbox) -> StoreEnvironment {
        var environment = Fixture.environment
        environment.anchorFolder = sandbox.folder + "/anchors"
        return environment
    }

    static func fill(_ store: SQLiteContextStore, _ model: inout LogModel, turns: Int) async throws {
        let origin = try await store.recover().origin
        for number in 0..<turns {
            let commit = model.turn(
                origin, stream: Fixture.stream(UInt64(number % 7)), text: "turn \(number)",
                prefix: UInt64(number + 1) << 44)
            model.apply(commit)
            try await store.commit(commit)
        }
    }

    /// Waits for the older keys' end.
    static func settled(_ store: SQLiteContextStore) async throws -> StoreKeyStatus {
        for _ in 0..<5_000 {
            let status = try await store.keyStatus()
            if status.keys == 1 { return status }
            try await Task.sleep(for: .milliseconds(2))
        }
        return try await store.keyStatus()
    }

    @Test(
        "A key has served its time by age, by records, or after a deletion",
        arguments: [
            (0, 0, 0, 10, false), (Limits.secondsPerKey - 1, 0, 0, 10, false), (Limits.secondsPerKey, 0, 0, 10, true),
            (0, Limits.recordsPerKey, 0, 10, true), (0, Limits.recordsPerKey - 1, 0, 10, false),
            (59, 0, 1, 10, false), (60, 0, 1, 10, true), (60, 0, 1, 1_000_000, false), (29_999, 0, 1, 1_000_000, false),
            (30_000, 0, 1, 1_000_000, true), (86_399, 0, 1, .max, false), (86_400, 0, 1, .max, true),
            (86_400, 0, 0, 10, false),
        ] as [(UInt64, UInt64, UInt64, UInt64, Bool)])
    func schedule(age: UInt64, records: UInt64, erasures: UInt64, operations: UInt64, isDue: Bool) {
        let schedule = KeySchedule(made: 1_000, records: records, erasures: erasures, operations: operations)
        #expect(schedule.isDue(at: 1_000 + age) == isDue)
        // A clock that went back.
        #expect(!KeySchedule(made: 1_000, records: 0, erasures: 1, operations: 1).isDue(at: 0))
    }

    @Test("Versions go on with 1 after 255")
    func versions() throws {
        #expect(KeyRing.newest(of: [0, 3, 4]) == 4 && KeyRing.newest(of: [255]) == 255)
        #expect(KeyRing.newest(of: [254, 255, 1]) == 1 && KeyRing.newest(of: [255, 1, 2]) == 2)
        #expect(KeyRing.newest(of: [0]) == nil && KeyRing.newest(of: [] as [UInt8]) == nil)
        let key = SymmetricKey([UInt8](repeating: 1, count: 32))
        let ring = try KeyRing(store: Bytes16(high: 0, low: 1), keys: [0: key, 255: key])
        #expect(ring.next == 1)
        ring.use(key, version: 1)
        #expect(ring.current == 1 && ring.next == 2)
        ring.forget([255, 1])
        #expect(ring.versions == [1])
    }

    @Test(
        "With a fresh key every row is sealed anew and the older key is destroyed, again and again",
        arguments: [true, false])
    func rotation(isDevice: Bool) async throws {
        let sandbox = Sandbox()
        let environment = Self.environment(sandbox)
        let key = isDevice ? Self.device : Fixture.key
        var store = try await SQLiteContextStore.opened(sandbox, key: key, environment: environment)
        var model = LogModel()
        try await Self.fill(store, &model, turns: 700)
        for round in 1...3 {
            #expect(try await store.rotateKey().version == round + 1)
            // Meanwhile others go on.
            try await Self.fill(store, &model, turns: 30)
            let status = try await Self.settled(store)
            #expect(status.keys == 1 && status.rowsLeft == 0 && status.version == round + 1)
            #expect(try await model.difference(from: store) == nil)
            if round == 2 {
                await store.close()
                store = try await SQLiteContextStore.opened(sandbox, key: key, environment: environment)
            }
        }
        await store.close()
        let database = try Database(.untouched(sandbox.path))
        for table in ["operations", "streams", "origins", "seals"] {
            let others = try database.first("SELECT COUNT(*) FROM \(table) WHERE substr(sealed, 1, 1) <> x'04'") {
                $0.integer(0)
            }
            #expect(others == 0, "\(table)")
        }
        #expect(try database.first("SELECT COUNT(*) FROM keys WHERE version > 0") { $0.integer(0) } == 1)
        let again = try await SQLiteContextStore.opened(sandbox, key: key, environment: environment)
        #expect(try await model.difference(from: again) == nil)
        await again.close()
    }

    @Test(
        "Whenever a rotation breaks off, all is there and it goes on", arguments: [true, false], [true, false])
    func crashes(isDevice: Bool, isRead: Bool) async throws {
        let key = isDevice ? Self.device : Fixture.key
        let sandbox = Sandbox()
        let store = try await SQLiteContextStore.opened(sandbox, key: key, environment: Self.environment(sandbox))
        var model = LogModel()
        try await Self.fill(store, &model, turns: 2_000)
        await store.close()
        var copies = try Self.steps(sandbox, key, isRead: isRead)
        #expect(copies.count > 12)
        copies.append(sandbox)
        for copy in copies {
            let again = try await SQLiteContextStore.opened(copy, key: key, environment: Self.environment(copy))
            #expect(try await Self.settled(again).keys == 1)
            #expect(try await model.difference(from: again) == nil)
            await again.close()
        }
    }

    /// What lies on disk after each step of a rotation.
    ///
    /// - Parameter isRead: somebody reads for long at its end, so that the log cannot be emptied.
    private static func steps(_ sandbox: Sandbox, _ key: StoreKey, isRead: Bool) throws -> [Sandbox] {
        let environment = environment(sandbox)
        let file = StoreFile(path: sandbox.path, key: key, hostname: "host", environment: environment)
        let writer = try StoreWriter(
            try file.open(), isInMemory: false, node: Fixture.node, environment: environment)
        var copies: [Sandbox] = []
        func copy() {
            let copy = sandbox.crashed()
            mkdir(copy.folder + "/anchors", 0o700)
            for name in Sandbox.names(sandbox.folder + "/anchors") {
                Sandbox.write(
                    Sandbox.read(sandbox.folder + "/anchors/" + name), to: copy.folder + "/anchors/" + name)
            }
            copies.append(copy)
        }
        try writer.rotateKey()
        copy()
        if isRead { try writer.beginLongRead() }
        while writer.rewriting != nil, copies.count < 100 {
            writer.rewriteSome()
            copy()
        }
        if isRead {
            writer.endLongRead()
            copy()
        }
        return copies
    }

    @Test("An interrupted change of the anchor opens with either one, and is finished")
    func anchors() async throws {
        let sandbox = Sandbox()
        let environment = Self.environment(sandbox)
        var store = try await SQLiteContextStore.opened(sandbox, key: Self.device, environment: environment)
        var model = LogModel()
        try await Self.fill(store, &model, turns: 20)
        _ = try await store.rotateKey()
        _ = try await Self.settled(store)
        await store.close()
        let file = sandbox.folder + "/anchors/" + (Sandbox.names(sandbox.folder + "/anchors").first ?? "")
        let present = Sandbox.read(file)
        #expect(present.count == KeyAnchor.bytes)
        for other in [[UInt8](repeating: 9, count: 32) + present, present + [UInt8](repeating: 9, count: 32)] {
            Sandbox.write(other, to: file)
            store = try await SQLiteContextStore.opened(sandbox, key: Self.device, environment: environment)
            #expect(try await model.difference(from: store) == nil)
            _ = try await store.recover()
            await store.close()
            #expect(Sandbox.read(file) == present)
        }
        Sandbox.write([UInt8](repeating: 9, count: 32), to: file)
        store = try await SQLiteContextStore.opened(sandbox, key: Self.device, environment: environment)
        #expect(store.isLocked)
        await store.close()
    }

    @Test("A store of the format before gets a key for its look-ups, and finds everything when its first key is gone")
    func older() async throws {
        let sandbox = Sandbox()
        var store = try await SQLiteContextStore.opened(sandbox)
        var model = LogModel()
        try await Self.fill(store, &model, turns: 40)
        await store.close()
        do {
            // As it was made then: look-ups are keyed with what follows from the first data key.
            let database = try Database(.file(sandbox.path))
            let id = try #require(try database.first("SELECT store FROM meta", read: { Bytes16($0.blob(0)) }) ?? nil)
            let envelope = try KeyEnvelope(Fixture.key, store: id, hostname: "host")
            let wrapped = try database.first("SELECT wrapped FROM keys WHERE version = 1", read: { $0.blob(0) })
            let first = try #require(envelope.unwrap(wrapped ?? [], version: 1))
            let old = try KeyRing(store: id, keys: [1: first])
            for stream in model.streams {
                let now = try #require(try database.first("SELECT wrapped FROM keys WHERE version = 0") { $0.blob(0) })
                let present = try KeyRing(
                    store: id, keys: [0: try #require(envelope.unwrap(now, version: 0)), 1: first])
                try database.run(
                    "UPDATE streams SET fingerprint = ? WHERE fingerprint = ?",
                    .blob(old.fingerprint("stream", of: stream.bytes.bytes)),
                    .blob(present.fingerprint("stream", of: stream.bytes.bytes)))
            }
            let name = Array(Owner.local.name.utf8)
            try database.run("UPDATE owners SET fingerprint = ?", .blob(old.fingerprint("owner", of: name)))
            try database.execute("DELETE FROM keys WHERE version = 0; PRAGMA user_version = 3")
        }
        store = try await SQLiteContextStore.opened(sandbox)
        #expect(try await model.difference(from: store) == nil)
        _ = try await store.rotateKey()
        #expect(try await Self.settled(store).keys == 1)
        await store.close()
        store = try await SQLiteContextStore.opened(sandbox)
        #expect(try await model.difference(from: store) == nil)
        #expect(try Database(.untouched(sandbox.path)).first("SELECT COUNT(*) FROM keys") { $0.integer(0) } == 2)
        await store.close()
    }

    @Test("A key that a row still needs is kept, though the row does not open for now")
    func stuck() async throws {
        let sandbox = Sandbox()
        var store = try await SQLiteContextStore.opened(sandbox)
        var model = LogModel()
        try await Self.fill(store, &model, turns: 30)
        await store.close()
        do {
            try Database(.file(sandbox.path)).execute(
                "UPDATE operations SET sealed = x'01\(String(repeating: "00", count: 60))' "
                    + "WHERE id = (SELECT MAX(id) FROM operations)")
        }
        store = try await SQLiteContextStore.opened(sandbox)
        _ = try await store.rotateKey()
        var status = try await store.keyStatus()
        for _ in 0..<200 where status.rowsLeft != 30 {
            status = try await store.keyStatus()
            try await Task.sleep(for: .milliseconds(5))
        }
        #expect(status.keys == 2)
        await store.close()
    }

    @Test("After a deletion and the change of keys that follows, a copy from before opens with nothing that is left")
    func shredding() async throws {
        let sandbox = Sandbox()
        var environment = Self.environment(sandbox)
        let clock = TestClock(environment.seconds)
        environment.now = { clock.now }
        environment.idle = .milliseconds(5)
        let store = try await SQLiteContextStore.opened(sandbox, key: Self.device, environment: environment)
        var model = LogModel()
        try await Self.fill(store, &model, turns: 60)
        let before = sandbox.crashed()
        let early = try await SQLiteContextStore.opened(
            Self.copied(before), key: Self.device, environment: Self.environment(sandbox))
        #expect(!early.isLocked)
        await early.close()
        let deletion = model.deletion(of: Fixture.stream(3))
        model.apply(deletion)
        try await store.commit(deletion)
        clock.now += 61
        // A writer that is at work looks at the clock as well.
        for _ in 0..<400 where try await store.keyStatus().version == 1 {
            try await Self.fill(store, &model, turns: 1)
            try await Task.sleep(for: .milliseconds(5))
        }
        let status = try await Self.settled(store)
        #expect(status.version == 2 && status.keys == 1 && status.erasures == 0)
        await store.close()
        // The copy, with the device key and all that lies beside it now.
        let stolen = try await SQLiteContextStore.opened(
            before, key: Self.device, environment: Self.environment(sandbox))
        #expect(stolen.isLocked)
        await stolen.close()
        // Nor do the keys of the present database open its rows.
        let file = StoreFile(
            path: sandbox.path, key: Self.device, hostname: "host", environment: Self.environment(sandbox))
        let ring = try file.open().ring
        let old = try Database(.file(before.path))
        var opened = 0
        try old.forEach("SELECT id, sealed FROM streams") { row in
            if ring.open(row.blob(1), as: .stream(row.integer(0))) != nil { opened += 1 }
        }
        #expect(opened == 0)
        let again = try await SQLiteContextStore.opened(
            sandbox, key: Self.device, environment: Self.environment(sandbox))
        #expect(try await model.difference(from: again) == nil)
        await again.close()
    }

    private static func copied(_ sandbox: Sandbox) -> Sandbox { sandbox.crashed() }
}

/// A clock that a test moves.
final class TestClock: Sendable {
    private let value: Mutex<UInt64>

    init(_ value: UInt64) { self.value = Mutex(value) }

    var now: UInt64 {
        get { value.withLock { $0 } }
        set { value.withLock { $0 = newValue } }
    }
}
