import Core
import Testing

@Suite struct SnapshotManifestTests {
    private static func manifest(bytes: Int, partBytes: Int = 1_000) -> SnapshotManifest {
        var vector = VersionVector()
        vector[Origin(node: NodeID(Bytes16(high: 1, low: 2)), epoch: 3)] = 4
        vector[Origin(node: NodeID(Bytes16(high: 1, low: 2)), epoch: 4)] = .max
        return SnapshotManifest(
            id: Bytes16(high: 5, low: 6), bytes: bytes, partBytes: partBytes,
            parts: (0..<(bytes + partBytes - 1) / partBytes).map { [UInt8](repeating: UInt8($0), count: 32) },
            operations: 7, vector: vector)
    }

    @Test("what is written can be read", arguments: [0, 1, 999, 1_000, 1_001, 12_345])
    func roundTrip(bytes: Int) throws {
        let manifest = Self.manifest(bytes: bytes)
        #expect(try SnapshotManifest(decoding: manifest.encoded) == manifest)
    }

    @Test("no beginning of a manifest is one, and nothing may follow it")
    func lengths() {
        let encoded = Self.manifest(bytes: 2_500).encoded
        for count in 0..<encoded.count {
            #expect(throws: RuntimeError.self) { try SnapshotManifest(decoding: Array(encoded.prefix(count))) }
        }
        #expect(throws: RuntimeError.self) { try SnapshotManifest(decoding: encoded + [0]) }
    }

    @Test("sizes that contradict each other are refused")
    func contradictions() {
        var more = Self.manifest(bytes: 2_500)
        more.parts.append([UInt8](repeating: 0, count: 32))
        var none = Self.manifest(bytes: 2_500)
        none.parts = []
        var huge = Self.manifest(bytes: 0)
        huge.partBytes = Limits.snapshotPartBytes + 1
        var empty = Self.manifest(bytes: 0)
        empty.partBytes = 0
        for manifest in [more, none, huge, empty] {
            #expect(throws: RuntimeError.self) { try SnapshotManifest(decoding: manifest.encoded) }
        }
    }

    @Test("garbage is refused and never traps")
    func garbage() {
        var generator = Seeded(11)
        for _ in 0..<2_000 {
            var bytes = Self.manifest(bytes: 2_500).encoded
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
            }
            _ = try? SnapshotManifest(decoding: bytes)
        }
    }
}
