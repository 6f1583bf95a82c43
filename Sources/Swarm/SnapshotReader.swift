package import Core
import Cryptography

/// The receiving half of a snapshot: parts in, batches out, in the order in which they may be handed to the log. Pure;
/// the shell fetches ``next`` from the host that made the snapshot, again and again until it is nil. After a lost
/// connection it goes on where it stood, as long as that host keeps the snapshot.
///
/// What comes from a peer is never trusted: each part must be what the manifest says, each batch well formed. Whether
/// a batch is its author's word is the log's to check.
package struct SnapshotReader: Sendable {
    /// One batch is at most about one operation of the greatest size.
    private static let batchBytes = Limits.operationBodyBytes + 1024 * 1024

    package let manifest: SnapshotManifest
    private var index = 0
    /// Received, and not yet a whole batch.
    private var pending: [UInt8] = []
    private var position = 0
    /// Operations handed out.
    package private(set) var operations = 0

    /// Throws ``RuntimeError`` `.corrupt` for a manifest that contradicts itself.
    package init(_ manifest: SnapshotManifest) throws(RuntimeError) {
        guard (1...Limits.snapshotPartBytes).contains(manifest.partBytes), manifest.bytes >= 0,
            manifest.operations >= 0, manifest.operations <= manifest.bytes,
            manifest.parts.count == manifest.bytes / manifest.partBytes
                + (manifest.bytes.isMultiple(of: manifest.partBytes) ? 0 : 1),
            manifest.parts.allSatisfy({ $0.count == SHA256.digestBytes })
        else { throw RuntimeError(.corrupt, "the sizes in the manifest of a snapshot contradict each other") }
        self.manifest = manifest
    }

    /// What to fetch next: as many parts as fit into `bytes`, though at least one; nil when all of it was taken.
    package func next(atMost bytes: Int = Limits.snapshotPartBytes) -> Range<Int>? {
        guard index < manifest.parts.count else { return nil }
        let start = index * manifest.partBytes
        let count = max(1, bytes / manifest.partBytes) * manifest.partBytes
        return start..<(manifest.bytes - start > count ? start + count : manifest.bytes)
    }

    /// Takes what stands at the start of ``next(atMost:)``: whole parts, at least one. Throws ``RuntimeError``
    /// `.corrupt` for other bytes: then they may be fetched again, and nothing has changed; or for batches that are
    /// none: then the snapshot is worthless.
    package mutating func received(_ bytes: [UInt8]) throws(RuntimeError) -> [OperationBatch] {
        var taken = 0
        var count = 0
        repeat {
            guard index + count < manifest.parts.count else { throw wrongPart }
            let length = min(manifest.partBytes, manifest.bytes - (index + count) * manifest.partBytes)
            guard bytes.count - taken >= length,
                SHA256.hash(Array(bytes[taken..<taken + length])) == manifest.parts[index + count]
            else { throw wrongPart }
            taken += length
            count += 1
        } while taken < bytes.count
        index += count
        pending.append(contentsOf: bytes)
        var batches: [OperationBatch] = []
        while let bytes = try frame() {
            let batch = try OperationBatchCodec.decode(bytes)
            operations += batch.operations.count
            batches.append(batch)
        }
        pending.removeFirst(position)
        position = 0
        if index == manifest.parts.count, !pending.isEmpty || operations != manifest.operations {
            throw RuntimeError(.corrupt, "a snapshot does not end where its manifest says")
        }
        return batches
    }

    private var wrongPart: RuntimeError {
        RuntimeError(.corrupt, "part \(index) of a snapshot is not what its manifest says")
    }

    /// The next whole batch's bytes.
    private mutating func frame() throws(RuntimeError) -> [UInt8]? {
        let head = Array(pending[position..<min(position + 10, pending.count)])
        guard let end = head.firstIndex(where: { $0 < 0x80 }) else {
            guard head.count < 10 else { throw RuntimeError(.corrupt, "a snapshot has a length without an end") }
            return nil
        }
        var reader = ByteReader(head)
        let length = try reader.varint()
        guard length <= UInt64(Self.batchBytes) else {
            throw RuntimeError(.corrupt, "a batch of \(length) bytes is longer than any may be")
        }
        let start = position + end + 1
        guard pending.count - start >= Int(length) else { return nil }
        position = start + Int(length)
        return Array(pending[start..<position])
    }
}
