import Core
import Cryptography

/// A snapshot in the making: the walk's batches, each after its length (varint), cut into parts.
struct SnapshotBuild: Sendable {
    private var walk: SnapshotWalk
    private let spool: SnapshotSpool
    private var pending: [UInt8] = []
    private var parts: [[UInt8]] = []
    private var bytes = 0
    private var operations = 0

    init(_ reader: StoreReader, spool: SnapshotSpool) throws(RuntimeError) {
        walk = try SnapshotWalk(reader)
        self.spool = spool
    }

    /// Adds about one part, so that other readers wait but milliseconds for their turn. False once all is there.
    mutating func advance(_ reader: StoreReader) throws(RuntimeError) -> Bool {
        while pending.count < Limits.snapshotPartBytes {
            guard let batch = try walk.step(reader) else {
                if !pending.isEmpty { try cut(pending.count) }
                return false
            }
            var length = ByteWriter()
            let encoded = OperationBatchCodec.encode(batch)
            length.put(varint: UInt64(encoded.count))
            pending += length.bytes
            pending += encoded
            operations += batch.operations.count
        }
        while pending.count >= Limits.snapshotPartBytes { try cut(Limits.snapshotPartBytes) }
        return true
    }

    private mutating func cut(_ count: Int) throws(RuntimeError) {
        let part = Array(pending.prefix(count))
        try spool.write(part, at: parts.count)
        parts.append(SHA256.hash(part))
        failpoint("snapshot.part")
        bytes += count
        pending.removeFirst(count)
    }

    /// Once ``advance(_:)`` has said false.
    func manifest(id: Bytes16) -> SnapshotManifest {
        SnapshotManifest(
            id: id, bytes: bytes, partBytes: Limits.snapshotPartBytes, parts: parts, operations: operations,
            vector: walk.vector)
    }
}
