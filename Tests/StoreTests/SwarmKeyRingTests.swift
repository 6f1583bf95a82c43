import Core
import Cryptography
import Glibc
import Testing

@testable import Store

@Suite struct SwarmKeyRingTests {
    static func resolve(
        _ sandbox: Sandbox, configured: [UInt8]? = nil, isOpen: Bool = false
    ) throws -> SwarmKeyRing {
        try SwarmKeyRing.resolve(
            directory: sandbox.folder, configured: configured.map { SymmetricKey($0) }, isOpen: isOpen)
    }

    static func mode(_ path: String) -> mode_t {
        var status = stat()
        return stat(path, &status) == 0 ? status.st_mode & 0o777 : 0
    }

    @Test("The user's key is made once, for this user alone, and shared by all instances")
    func userKey() throws {
        let sandbox = Sandbox()
        let first = try Self.resolve(sandbox)
        let second = try Self.resolve(sandbox)
        #expect(first.source == .file && first.root.tag == second.root.tag)
        #expect(
            sandbox.names == ["swarm.key", "swarm.key.unshared"] && Self.mode(sandbox.folder + "/swarm.key") == 0o600)
        #expect(try Self.resolve(Sandbox()).root.tag != first.root.tag)
    }

    @Test("A key that was made here is this machine's alone until a host of another one is met, a given one never is")
    func unshared() throws {
        let sandbox = Sandbox()
        let first = try Self.resolve(sandbox)
        #expect(try first.isUnshared && Self.resolve(sandbox).isUnshared)
        first.markShared()
        #expect(try !first.isUnshared && !Self.resolve(sandbox).isUnshared)

        let other = Sandbox()
        #expect(try Self.resolve(other).isUnshared)
        try SwarmKeyRing.join(SymmetricKey([UInt8](repeating: 4, count: 32)), directory: other.folder)
        #expect(try !Self.resolve(other).isUnshared)
        #expect(try !Self.resolve(Sandbox(), configured: [UInt8](repeating: 3, count: 32)).isUnshared)
    }

    @Test("A configured key comes before the file, and open mode before both; neither touches the disk")
    func sources() throws {
        let sandbox = Sandbox()
        let key = [UInt8](repeating: 3, count: 32)
        let configured = try Self.resolve(sandbox, configured: key)
        #expect(try configured.source == .configured && configured.root.tag == SwarmKeys(SymmetricKey(key)).tag)
        let open = try Self.resolve(sandbox, configured: key, isOpen: true)
        #expect(try open.source == .open && open.root.tag == Self.resolve(Sandbox(), isOpen: true).root.tag)
        #expect(open.root.tag != configured.root.tag)
        #expect(sandbox.names == [])
    }

    @Test("What follows from a key is the same everywhere, differs by purpose, and never prints")
    func derived() throws {
        let keys = try SwarmKeys(SymmetricKey(0..<32))
        #expect(keys.tag.hex == "2cd462a0fcc82fd376459da9781a6132")
        let all = [keys.key, keys.authority, keys.discovery, keys.session, keys.index].map { $0.reveal() }
        #expect(Set(all).count == 5 && all.allSatisfy { $0.count == 32 })
        #expect(all.allSatisfy { Array($0.prefix(16)) != keys.tag })
        #expect("\(keys)".contains("<key>") && !"\(keys)".contains("[0, 1"))
        #expect(throws: CryptographyError.self) { try SwarmKeys(SymmetricKey([1, 2])) }
    }

    @Test("Joining replaces the user's key and keeps the one before")
    func join() throws {
        let sandbox = Sandbox()
        let old = try Self.resolve(sandbox)
        let key = [UInt8](repeating: 9, count: 32)
        for _ in 0..<2 {
            try SwarmKeyRing.join(SymmetricKey(key), directory: sandbox.folder)
            #expect(try Self.resolve(sandbox).root.key.reveal() == key)
            #expect(Sandbox.read(sandbox.folder + "/swarm.key.old") == old.root.key.reveal())
        }
        #expect(sandbox.names == ["swarm.key", "swarm.key.old"])
        for name in sandbox.names { #expect(Self.mode(sandbox.folder + "/" + name) == 0o600) }
        #expect(throws: RuntimeError.self) { try SwarmKeyRing.join(SymmetricKey([1]), directory: sandbox.folder) }
        let fresh = Sandbox()
        try SwarmKeyRing.join(SymmetricKey(key), directory: fresh.folder + "/deep")
        #expect(Sandbox.names(fresh.folder + "/deep") == ["swarm.key"])
    }

    @Test("The ring is read back as it was saved, sealed, and belongs to its key")
    func ring() throws {
        let sandbox = Sandbox()
        let ring = try Self.resolve(sandbox)
        #expect(try ring.load() == nil)
        let secret = [UInt8](repeating: 0x55, count: 500)
        try ring.save([1])
        try ring.save(secret)
        #expect(try ring.load() == secret)
        #expect(try Self.resolve(sandbox).load() == secret)
        #expect(try Self.resolve(sandbox, configured: [UInt8](repeating: 1, count: 32)).load() == nil)
        let name = try #require(sandbox.names.first { $0.hasSuffix(".ring") })
        #expect(sandbox.names.count { $0.hasSuffix(".ring") } == 1 && Self.mode(sandbox.folder + "/" + name) == 0o600)
        let record = Sandbox.read(sandbox.folder + "/" + name)
        #expect(!record.contains(Array(repeating: 0x55, count: 8)))
    }

    @Test("Instances of one user that save at once take nothing back from one another")
    func shared() async throws {
        let sandbox = Sandbox()
        let ring = try Self.resolve(sandbox)
        let union = { @Sendable (kept: [UInt8], more: [UInt8]) in Set(kept).union(more).sorted() }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<40 as Range<UInt8> { group.addTask { try ring.save([number], merge: union) } }
            try await group.waitForAll()
        }
        #expect(try ring.load() == Array(0..<40))
    }

    @Test("A ring that was changed, cut, or may be read by others is refused, not guessed at")
    func damagedRing() throws {
        let sandbox = Sandbox()
        let ring = try Self.resolve(sandbox)
        try ring.save([1, 2, 3])
        let path = try sandbox.folder + "/" + #require(sandbox.names.first { $0.hasSuffix(".ring") })
        let record = Sandbox.read(path)
        for bytes in [[], Array(record.dropLast()), record.map { $0 ^ 1 }] {
            Sandbox.write(bytes, to: path)
            #expect(throws: RuntimeError.self) { try ring.load() }
        }
        Sandbox.write(record, to: path)
        #expect(try ring.load() == [1, 2, 3])
        chmod(path, 0o644)
        let error = #expect(throws: RuntimeError.self) { try ring.load() }
        #expect(error?.code == .configuration && error?.message.contains(sandbox.folder) == false)
    }

    @Test("A full state folder or one that is not writable leaves the old ring")
    func refusedWrite() throws {
        let sandbox = Sandbox()
        let ring = try Self.resolve(sandbox)
        try ring.save([7])
        let names = sandbox.names
        // A folder in the way of the draft's final name: the rename fails, as on a failing disk.
        let path = try sandbox.folder + "/" + #require(names.first { $0.hasSuffix(".ring") })
        let kept = Sandbox.read(path)
        unlink(path)
        mkdir(path, 0o700)
        #expect(throws: RuntimeError.self) { try ring.save([8]) }
        rmdir(path)
        Sandbox.write(kept, to: path)
        #expect(try ring.load() == [7] && sandbox.names == names)
    }
}
