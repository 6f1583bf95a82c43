import Core
import Cryptography
import Glibc
import Testing

@testable import Store

@Suite struct ModelFolderTests {
    private let sandbox = Sandbox()

    private func write(_ bytes: [UInt8], _ name: String) -> String {
        let path = "\(sandbox.folder)/\(name)"
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        _ = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        close(descriptor)
        return path
    }

    private func folder() throws -> ModelFolder { try ModelFolder(path: "\(sandbox.folder)/models") }

    private func model(_ name: String, _ bytes: [UInt8]) -> ModelFolder.Model {
        ModelFolder.Model(name: name, source: "added", digest: SHA256.hash(bytes).hex, bytes: bytes.count)
    }

    @Test func aModelIsThereAfterARestartAndGoesWhenNoNameIsLeft() throws {
        let bytes = [UInt8](repeating: 7, count: 10_000)
        let source = write(bytes, "m.gguf")
        let (one, two) = (model("vendor/m:4b", bytes), model("other", bytes))
        try folder().take(source, as: one)
        try folder().take(source, as: two)
        let again = try folder()
        #expect(again.models == [one, two])
        // By a second name of the file: no byte was copied.
        #expect(try #require(FileIdentity(path: again.path(of: one))) == #require(FileIdentity(path: source)))
        try again.remove(one.name)
        #expect(FileIdentity(path: again.path(of: one)) == nil)
        #expect(FileIdentity(path: again.path(of: two)) != nil)
        #expect(try folder().models == [two])
        #expect(FileIdentity(path: source) != nil)
    }

    @Test func aNameNeverLeadsOutOfTheFolder() {
        let file = model("../../etc/passwd\u{0}x", [1]).file
        #expect(!file.contains("/") && !file.contains("\0") && !file.hasPrefix("."))
    }

    @Test func aDigestIsRememberedUntilTheFileChanges() throws {
        let path = write([1, 2, 3], "m.gguf")
        let digest = try folder().digest(of: path)
        #expect(digest == SHA256.hash([1, 2, 3]).hex)
        // Nothing is read any more: it would stop at once.
        #expect(try folder().digest(of: path, isStopped: { true }) == digest)
        _ = write([1, 2, 3, 4], "m.gguf")
        #expect(try folder().digest(of: path, isStopped: { true }) == nil)
        #expect(try folder().digest(of: path) == SHA256.hash([1, 2, 3, 4]).hex)
    }

    @Test func aCopyGoesOnWhereItStopped() throws {
        let bytes = (0..<200_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let copied = model("m", bytes)
        let first = try folder().part(copied.digest)
        try first.append(Array(bytes[..<150_000]), at: 0)
        let second = try folder().part(copied.digest)
        #expect(second.length == 150_000)
        try second.append(Array(bytes[150_000...]), at: second.length)
        #expect(try second.digest() == copied.digest)
        let folder = try folder()
        try folder.take(second, as: copied)
        #expect(try folder.digest(of: folder.path(of: copied)) == copied.digest)
        #expect(FileIdentity(path: second.path) == nil)
    }

    @Test func aFileThatChangedIsNotGivenAway() throws {
        let path = write([1, 2, 3], "m.gguf")
        let identity = try #require(FileIdentity(path: path))
        let file = try #require(OpenFile(path: path, as: identity))
        #expect(try file.read(1..<3) == [2, 3])
        truncate(path, 1)
        #expect(throws: RuntimeError.self) { try file.read(0..<3) }
        #expect(OpenFile(path: path, as: identity) == nil)
    }

    @Test func aDamagedRegistryIsSaid() throws {
        _ = try folder()
        let path = "\(sandbox.folder)/models/registry.json"
        let descriptor = open(path, O_WRONLY | O_CREAT, 0o600)
        _ = Glibc.write(descriptor, "{\"models\": [{\"name\": 3}]}", 25)
        close(descriptor)
        #expect(throws: RuntimeError.self) { try folder() }
    }
}
