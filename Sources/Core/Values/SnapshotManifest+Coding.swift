/// A manifest on its way to a peer.
extension SnapshotManifest {
    private static let version: UInt8 = 1
    private static let hashBytes = 32

    package var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.put(Self.version)
        writer.put(id)
        writer.put(varint: UInt64(clamping: bytes))
        writer.put(varint: UInt64(clamping: partBytes))
        writer.put(varint: UInt64(clamping: operations))
        writer.put(varint: UInt64(parts.count))
        for hash in parts { writer.put(raw: hash) }
        let entries = vector.entries
        writer.put(varint: UInt64(entries.count))
        for (origin, sequence) in entries {
            writer.put(origin.node.bytes)
            writer.put(bigEndian: origin.epoch)
            writer.put(varint: sequence)
        }
        return writer.bytes
    }

    /// Throws ``RuntimeError`` `.corrupt` for anything that cannot be the manifest of a snapshot.
    package init(decoding encoded: [UInt8]) throws(RuntimeError) {
        var reader = ByteReader(encoded)
        guard try reader.byte() == Self.version else {
            throw RuntimeError(.corrupt, "the manifest of the snapshot is of another version")
        }
        let id = try reader.bytes16()
        guard let bytes = Int(exactly: try reader.varint()), let partBytes = Int(exactly: try reader.varint()),
            let operations = Int(exactly: try reader.varint()), let count = Int(exactly: try reader.varint()),
            (1...Limits.snapshotPartBytes).contains(partBytes), count <= Limits.snapshotParts,
            count == bytes / partBytes + (bytes.isMultiple(of: partBytes) ? 0 : 1)
        else { throw RuntimeError(.corrupt, "the sizes in the manifest of the snapshot contradict each other") }
        var parts: [[UInt8]] = []
        for _ in 0..<count { parts.append(try reader.raw(Self.hashBytes)) }
        var vector = VersionVector()
        // Each entry takes bytes of the manifest, whose own size the reader's source bounds.
        for _ in 0..<(try reader.varint()) {
            let node = NodeID(try reader.bytes16())
            vector[Origin(node: node, epoch: try reader.bigEndian32())] = try reader.varint()
        }
        try reader.expectEnd()
        self.init(id: id, bytes: bytes, partBytes: partBytes, parts: parts, operations: operations, vector: vector)
    }
}
