import Core

/// The sealed content of an origin's row: how far it reaches, and its author's latest word for it.
///
///     sequence u64 | chain 32 | latest timestamp u64
///     … | seal's sequence u64 | author 32 | signature 64 | checkpoint, bytes before and after the seal varint
///
/// The second form once there is a seal; a store of format 1 has the first form only.
struct OriginRow: Sendable {
    let index: Int64
    let origin: Origin
    var sequence: UInt64 = 0
    var chain = ChainHash.empty
    var latest = HybridTimestamp(rawValue: 0)
    private(set) var seal: BatchSeal?
    /// Where the last seal stands that was kept before ``seal``; 0 for none.
    private var checkpoint: UInt64 = 0
    /// About what the operations take between the checkpoint and the seal, and above the seal.
    private var bytesBefore: UInt64 = 0
    private var bytesAfter: UInt64 = 0

    init(index: Int64, origin: Origin) {
        self.index = index
        self.origin = origin
    }

    var head: LogHead { LogHead(origin: origin, sequence: sequence, chain: chain) }

    /// Counts an operation that follows.
    mutating func append(_ operation: Operation) {
        sequence += 1
        latest = max(latest, operation.timestamp)
        bytesAfter += UInt64(operation.body.count + 64)
    }

    /// Takes a later seal. Returns the one before it where that is to be kept, so that no part of the stream between
    /// two seals grows past ``Limits/checkpointOperations`` and ``Limits/checkpointBytes``, as far as seals allow.
    mutating func take(_ next: BatchSeal) -> BatchSeal? {
        let start = seal?.sequence ?? 0
        guard next.sequence > start, next.sequence <= sequence else { return nil }
        // Of what came without its seal only the whole is known: each operation counts alike.
        let share = bytesAfter / (sequence - start) * (next.sequence - start)
        let bytes = next.sequence == sequence ? bytesAfter : share
        bytesAfter -= bytes
        defer { seal = next }
        guard let last = seal,
            next.sequence - checkpoint > UInt64(Limits.checkpointOperations)
                || bytesBefore + bytes > UInt64(Limits.checkpointBytes)
        else {
            bytesBefore += bytes
            return nil
        }
        checkpoint = last.sequence
        bytesBefore = bytes
        return last
    }

    var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.put(bigEndian: sequence)
        writer.put(raw: chain.bytes)
        writer.put(bigEndian: latest.rawValue)
        guard let seal else { return writer.bytes }
        writer.put(bigEndian: seal.sequence)
        writer.put(raw: seal.author)
        writer.put(raw: seal.signature)
        writer.put(varint: checkpoint)
        writer.put(varint: bytesBefore)
        writer.put(varint: bytesAfter)
        return writer.bytes
    }

    init(_ content: [UInt8], index: Int64, origin: Origin) throws(RuntimeError) {
        self.init(index: index, origin: origin)
        var reader = ByteReader(content)
        sequence = try reader.bigEndian64()
        chain = ChainHash(try reader.raw(32))
        latest = HybridTimestamp(rawValue: try reader.bigEndian64())
        guard !reader.isAtEnd else { return }
        let sealed = try reader.bigEndian64()
        seal = BatchSeal(
            origin: origin, sequence: sealed, author: try reader.raw(BatchSeal.authorBytes),
            signature: try reader.raw(BatchSeal.signatureBytes))
        checkpoint = try reader.varint()
        bytesBefore = try reader.varint()
        bytesAfter = try reader.varint()
        guard checkpoint < sealed, sealed <= sequence else {
            throw RuntimeError(.corrupt, "the store is damaged: origin \(origin) is sealed past its end")
        }
    }
}
