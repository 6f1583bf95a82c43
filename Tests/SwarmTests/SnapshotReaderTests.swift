import Core
import Cryptography
import Testing

@testable import Swarm

@Suite struct SnapshotReaderTests {
    static func batches(_ count: Int) -> [OperationBatch] {
        let origin = Origin(node: NodeID(Bytes16(high: 4, low: 4)), epoch: 2)
        return (0..<UInt64(count)).map { index in
            let operations = (1...3 as ClosedRange<UInt64>).map { offset in
                Operation(
                    dot: Dot(origin: origin, sequence: index * 3 + offset), kind: .userTurn,
                    timestamp: HybridTimestamp(rawValue: index), stream: StreamID(Bytes16(high: 1, low: index)),
                    body: [UInt8](repeating: UInt8(truncatingIfNeeded: index), count: Int(index * 37 % 700)))
            }
            let seal = BatchSeal(
                origin: origin, sequence: index * 3 + 3, author: [UInt8](repeating: 1, count: 32),
                signature: [UInt8](repeating: 2, count: 64))
            return OperationBatch(operations: operations, seal: seal)
        }
    }

    static func stream(_ batches: [OperationBatch]) -> [UInt8] {
        var writer = ByteWriter()
        for batch in batches { writer.put(lengthPrefixed: OperationBatchCodec.encode(batch)) }
        return writer.bytes
    }

    static func manifest(_ bytes: [UInt8], partBytes: Int, operations: Int) -> SnapshotManifest {
        let parts = stride(from: 0, to: bytes.count, by: partBytes).map {
            SHA256.hash(Array(bytes[$0..<min($0 + partBytes, bytes.count)]))
        }
        return SnapshotManifest(
            id: Bytes16(high: 0, low: 1), bytes: bytes.count, partBytes: partBytes, parts: parts,
            operations: operations, vector: VersionVector())
    }

    @Test("Whatever the size of parts and pieces, the batches come out as they went in", arguments: [1, 7, 100, 5_000])
    func pieces(partBytes: Int) throws {
        let batches = Self.batches(40)
        let bytes = Self.stream(batches)
        for atMost in [1, 3 * partBytes, 1_000_000] {
            var reader = try SnapshotReader(Self.manifest(bytes, partBytes: partBytes, operations: 120))
            var received: [OperationBatch] = []
            while let range = reader.next(atMost: atMost) { received += try reader.received(Array(bytes[range])) }
            #expect(received == batches && reader.operations == 120)
        }
    }

    @Test("A part that is not the manifest's is refused, and the right one is taken after it")
    func wrongPart() throws {
        let batches = Self.batches(10)
        let bytes = Self.stream(batches)
        var reader = try SnapshotReader(Self.manifest(bytes, partBytes: 100, operations: 30))
        var received: [OperationBatch] = []
        while let range = reader.next(atMost: 300) {
            var wrong = Array(bytes[range])
            wrong[wrong.count / 2] ^= 1
            for part in [wrong, [], Array(wrong.dropLast()), Array(bytes[range]) + [0]] {
                #expect(throws: RuntimeError.self) { try reader.received(part) }
            }
            received += try reader.received(Array(bytes[range]))
        }
        #expect(received == batches)
        #expect(throws: RuntimeError.self) { try reader.received([1]) }
    }

    @Test("Manifests that contradict themselves are refused")
    func badManifests() throws {
        let good = Self.manifest(Self.stream(Self.batches(5)), partBytes: 100, operations: 15)
        #expect(throws: Never.self) { try SnapshotReader(good) }
        let changes: [(inout SnapshotManifest) -> Void] = [
            { $0.bytes = -1 }, { $0.bytes = .max }, { $0.partBytes = 0 }, { $0.partBytes = -5 },
            { $0.partBytes = .max }, { $0.parts.removeLast() }, { $0.parts.append($0.parts[0]) },
            { $0.parts[0] = [] }, { $0.operations = .max }, { $0.operations = -1 }, { $0.bytes += 100 },
        ]
        for change in changes {
            var bad = good
            change(&bad)
            #expect(throws: RuntimeError.self) { try SnapshotReader(bad) }
        }
    }

    @Test("Streams of rubbish with honest hashes are refused, never trap and never grow memory")
    func rubbish() throws {
        var generator = SplitMix64(seed: 3)
        let whole = Self.stream(Self.batches(20))
        for round in 0..<300 {
            var bytes = whole
            switch round % 4 {
            case 0: bytes.removeLast(Int.random(in: 1..<bytes.count, using: &generator))
            case 1: bytes = (0..<400).map { _ in .random(in: 0...255, using: &generator) }
            case 2: bytes[0] = 0xFF
            default: bytes[.random(in: 0..<bytes.count, using: &generator)] ^= 0x80
            }
            var reader = try SnapshotReader(Self.manifest(bytes, partBytes: 256, operations: 60))
            var isRefused = false
            while !isRefused, let range = reader.next() {
                do { _ = try reader.received(Array(bytes[range])) } catch { isRefused = true }
            }
            // A bit within a body is the seal's to notice.
            if round % 4 != 3 { #expect(isRefused) }
        }
    }
}
