import Core

/// The one sealed row about the store as a whole.
///
///     node 16 | epoch u32 | clean u8 | unused (length varint, bytes) | conversations, operations, records, runs,
///     erasures varint
///
/// A store of format 1 has a boot id in place of the unused field, and no runs; one of format 3 no erasures.
struct StoreState: Sendable {
    /// Who wrote here last, and in which of its epochs; 0 when nobody has yet.
    var node = NodeID(Bytes16(high: 0, low: 0))
    var epoch: UInt32 = 0
    /// Whether the last writer said goodbye.
    var isClean = true
    var conversations: UInt64 = 0
    var operations: UInt64 = 0
    /// Records sealed with the current key.
    var records: UInt64 = 0
    /// How often it was opened for writing.
    var runs: UInt64 = 0
    /// Contents deleted since the current key was made.
    var erasures: UInt64 = 0

    init() {}

    var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.put(node.bytes)
        writer.put(bigEndian: epoch)
        writer.put(isClean ? 1 : 0)
        writer.put(lengthPrefixed: [])
        writer.put(varint: conversations)
        writer.put(varint: operations)
        writer.put(varint: records)
        writer.put(varint: runs)
        writer.put(varint: erasures)
        return writer.bytes
    }

    init(_ content: [UInt8]) throws(RuntimeError) {
        var reader = ByteReader(content)
        node = NodeID(try reader.bytes16())
        epoch = try reader.bigEndian32()
        isClean = try reader.byte() == 1
        _ = try reader.lengthPrefixed(atMost: 64)
        conversations = try reader.varint()
        operations = try reader.varint()
        records = try reader.varint()
        if !reader.isAtEnd { runs = try reader.varint() }
        if !reader.isAtEnd { erasures = try reader.varint() }
    }
}
