import Core

/// The sealed content of an origin's row: how far it reaches.
///
///     sequence u64 | chain 32 | latest timestamp u64
struct OriginRow: Sendable {
    let index: Int64
    let origin: Origin
    var sequence: UInt64 = 0
    var chain = ChainHash.empty
    var latest = HybridTimestamp(rawValue: 0)

    init(index: Int64, origin: Origin) {
        self.index = index
        self.origin = origin
    }

    var head: LogHead { LogHead(origin: origin, sequence: sequence, chain: chain) }

    var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.put(bigEndian: sequence)
        writer.put(raw: chain.bytes)
        writer.put(bigEndian: latest.rawValue)
        return writer.bytes
    }

    init(_ content: [UInt8], index: Int64, origin: Origin) throws(RuntimeError) {
        self.init(index: index, origin: origin)
        var reader = ByteReader(content)
        sequence = try reader.bigEndian64()
        chain = ChainHash(try reader.raw(32))
        latest = HybridTimestamp(rawValue: try reader.bigEndian64())
    }
}
