import Core
import Cryptography
import Glibc
import Testing

@testable import Store

@Suite struct KeyTests {
    @Test("A key file is made once, for its owner alone, in a folder made for it")
    func made() throws {
        let sandbox = Sandbox()
        let old = umask(0)
        defer { umask(old) }
        let folder = sandbox.folder + "/state"
        let key = try DeviceKey.loadOrCreate(directory: folder)
        #expect(key.count == 32)
        #expect(try DeviceKey.loadOrCreate(directory: folder).reveal() == key.reveal())
        #expect(Sandbox.names(folder) == ["device.key"])
        var status = stat()
        #expect(stat(folder + "/device.key", &status) == 0 && status.st_mode & 0o777 == 0o600)
        #expect(stat(folder, &status) == 0 && status.st_mode & 0o777 == 0o700)
        #expect(try DeviceKey.loadOrCreate(directory: sandbox.folder + "/other").reveal() != key.reveal())
    }

    @Test("Programs that start at once agree on one key")
    func race() async throws {
        let sandbox = Sandbox()
        let keys = try await withThrowingTaskGroup(of: [UInt8].self) { group in
            for _ in 0..<16 {
                group.addTask { try DeviceKey.loadOrCreate(directory: sandbox.folder).reveal() }
            }
            return try await group.reduce(into: Set<[UInt8]>()) { $0.insert($1) }
        }
        #expect(keys.count == 1)
        #expect(sandbox.names == ["device.key"])
    }

    @Test("A key file that others may read is refused", arguments: [0o644, 0o640, 0o604, 0o620] as [mode_t])
    func wrongMode(mode: mode_t) throws {
        let sandbox = Sandbox()
        Sandbox.write([UInt8](repeating: 1, count: 32), to: sandbox.folder + "/device.key", mode: mode)
        let error = #expect(throws: RuntimeError.self) { try DeviceKey.loadOrCreate(directory: sandbox.folder) }
        #expect(error?.code == .configuration && error?.message.contains("chmod 600") == true)
        #expect(error?.message.contains(sandbox.folder) == false)
    }

    @Test("A key file of another length, a link and a folder are refused")
    func notAKey() throws {
        for count in [0, 31, 33] {
            let sandbox = Sandbox()
            Sandbox.write([UInt8](repeating: 1, count: count), to: sandbox.folder + "/device.key")
            let error = #expect(throws: RuntimeError.self) { try DeviceKey.loadOrCreate(directory: sandbox.folder) }
            #expect(error?.code == .configuration)
        }
        let sandbox = Sandbox()
        Sandbox.write([UInt8](repeating: 1, count: 32), to: sandbox.folder + "/elsewhere")
        #expect(symlink("elsewhere", sandbox.folder + "/device.key") == 0)
        #expect(mkdir(sandbox.folder + "/node.key", 0o700) == 0)
        #expect(throws: RuntimeError.self) { try DeviceKey.loadOrCreate(directory: sandbox.folder) }
        #expect(throws: RuntimeError.self) { try NodeIdentity.loadOrCreate(directory: sandbox.folder) }
    }

    @Test("A host keeps its name, the hash of its public key, and its signatures hold")
    func identity() throws {
        let sandbox = Sandbox()
        let first = try NodeIdentity.loadOrCreate(directory: sandbox.folder)
        let second = try NodeIdentity.loadOrCreate(directory: sandbox.folder)
        #expect(first.node == second.node)
        #expect(first.node.bytes.bytes == Array(SHA256.hash(first.key.publicKey.bytes).prefix(16)))
        #expect(try first.key.publicKey.verify(second.key.sign([1]), of: [1]))
        #expect(try NodeIdentity.loadOrCreate(directory: sandbox.folder + "/b").node != first.node)
    }

    @Test("Hexadecimal digits and base64 are the key itself, with white space around them or not")
    func literalKeys() throws {
        let bytes = (0..<32).map { UInt8($0 * 8 + 3) }
        let base64 = "AwsTGyMrMztDS1NbY2tze4OLk5ujq7O7w8vT2+Pr8/s="
        #expect(try SwarmKeyText.parse(bytes.hex).reveal() == bytes)
        #expect(try SwarmKeyText.parse(bytes.hex.uppercased()).reveal() == bytes)
        #expect(try SwarmKeyText.parse(base64).reveal() == bytes)
        #expect(try SwarmKeyText.parse(" \(base64)\n").reveal() == bytes)
    }

    @Test("Words go through scrypt, always to the same key")
    func passphrases() throws {
        let key = try SwarmKeyText.parse(" shared-secret-of-ours\n")
        // hashlib.scrypt(b"shared-secret-of-ours", salt=b"igris-swarm-key-1", n=1<<17, r=8, p=1, dklen=32)
        #expect(key.reveal().hex == "084626e8b8429f640d3ddda0fd4eaac3e505be0bffc14e097f8dc0d45d1756bd")
        // 44 characters, but not base64: words too.
        #expect(try SwarmKeyText.parse(String(repeating: "*", count: 43) + "=").reveal() != key.reveal())
    }

    @Test(
        "Digits that were not copied whole are no passphrase",
        arguments: [(63, 0), (65, 0), (60, 0), (72, 0), (64, 1), (64, 4)])
    func miscopied(count: Int, strange: Int) {
        let text = String(repeating: "o", count: strange) + String(repeating: "5e", count: 40).prefix(count - strange)
        let error = #expect(throws: RuntimeError.self) { try SwarmKeyText.parse(text) }
        #expect(error?.code == .configuration && error?.message.contains(text) == false)
        #expect(error?.message.contains("copy it again") == true)
    }

    @Test(
        "Text too short to be a key is refused without being shown",
        arguments: ["", "     ", "hunter2-abc", "  short key  "])
    func tooShort(text: String) {
        let error = #expect(throws: RuntimeError.self) { try SwarmKeyText.parse(text) }
        #expect(error?.code == .configuration)
        #expect(text.allSatisfy(\.isWhitespace) || error?.message.contains(text) == false)
    }

    @Test("An old data key gives way to a fresh one; what it sealed still opens", arguments: [true, false])
    func rotation(byAge: Bool) async throws {
        let sandbox = Sandbox()
        var model = try await StoreFileTests.filled(sandbox)
        var environment = Fixture.environment
        for round in 1...3 {
            if byAge { environment.seconds += Limits.secondsPerKey + 1 }
            if !byAge { try Self.pretendManyRecords(sandbox) }
            let store = try await SQLiteContextStore.opened(sandbox, environment: environment)
            let origin = try await store.recover().origin
            let commit = model.turn(origin, stream: Fixture.stream(9), text: "round \(round)")
            model.apply(commit)
            try await store.commit(commit)
            #expect(try await model.difference(from: store) == nil)
            #expect(store.isLocked == false)
            await store.close()
            let database = try Database(.untouched(sandbox.path))
            let newest = try database.first("SELECT sealed FROM operations ORDER BY id DESC") { $0.blob(0).first }
            #expect(newest == UInt8(round + 1))
        }
        let wrong = try await SQLiteContextStore.opened(sandbox, key: Fixture.otherKey)
        #expect(wrong.isLocked)
    }

    private static func pretendManyRecords(_ sandbox: Sandbox) throws {
        let file = StoreFile(
            path: sandbox.path, key: Fixture.key, hostname: "host", environment: Fixture.environment)
        let opened = try file.open()
        var state = try StoreReader(database: opened.database, ring: opened.ring).state()
        state.records = Limits.recordsPerKey
        try opened.database.run(
            "UPDATE meta SET state = ?", .blob(try opened.ring.seal(state.encoded, as: .state)))
    }

    @Test("A store gives the same secret for a label at every start, and another for another label or store")
    func derivedKeys() async throws {
        let sandbox = Sandbox()
        var keys: [[UInt8]] = []
        for _ in 0..<2 {
            let store = try await SQLiteContextStore.opened(sandbox)
            keys.append(try store.key(label: "prefix").reveal())
            #expect(try store.key(label: "other").reveal() != keys[0])
            await store.close()
        }
        #expect(keys[0] == keys[1])
        let other = try await SQLiteContextStore.opened(Sandbox())
        #expect(try other.key(label: "prefix").reveal() != keys[0])
        await other.close()
    }
}
