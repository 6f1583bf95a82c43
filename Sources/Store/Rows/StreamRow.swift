import Core

/// The sealed content of a stream's row.
///
///     stream 16 | operations varint | 0
///     stream 16 | operations varint | 1 | id, owner (length varint, bytes) | created, updated u64 | turns varint
///
/// The count of operations shows when rows have gone missing.
struct StreamRow {
    var stream: StreamID
    var operations: UInt64
    var header: ConversationHeader?

    init(stream: StreamID, operations: UInt64 = 0, header: ConversationHeader? = nil) {
        self.stream = stream
        self.operations = operations
        self.header = header
    }

    var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.put(stream.bytes)
        writer.put(varint: operations)
        if let header {
            writer.put(1)
            writer.put(lengthPrefixed: header.id.rawValue.utf8)
            writer.put(lengthPrefixed: header.owner.name.utf8)
            writer.put(bigEndian: header.created.rawValue)
            writer.put(bigEndian: header.updated.rawValue)
            writer.put(varint: UInt64(clamping: header.turns))
        } else {
            writer.put(0)
        }
        return writer.bytes
    }

    init(_ content: [UInt8]) throws(RuntimeError) {
        var reader = ByteReader(content)
        stream = StreamID(try reader.bytes16())
        operations = try reader.varint()
        guard try reader.byte() == 1 else { return }
        let id = String(decoding: try reader.lengthPrefixed(atMost: content.count), as: UTF8.self)
        guard let id = ConversationID(id) else {
            throw RuntimeError(.corrupt, "a stored conversation has an id that cannot be one")
        }
        let owner = String(decoding: try reader.lengthPrefixed(atMost: content.count), as: UTF8.self)
        header = ConversationHeader(
            stream: stream, id: id, owner: Owner(name: owner),
            created: HybridTimestamp(rawValue: try reader.bigEndian64()),
            updated: HybridTimestamp(rawValue: try reader.bigEndian64()), turns: Int(clamping: try reader.varint()))
    }
}
