/// What travels: operations of one origin, contiguous and ascending, never empty, and the author's word for them
/// (swarm.md §2).
package struct OperationBatch: Hashable, Sendable {
    package var operations: [Operation]
    /// Covers the stream up to the last of the operations.
    package var seal: BatchSeal

    package init(operations: [Operation], seal: BatchSeal) {
        self.operations = operations
        self.seal = seal
    }

    package var origin: Origin { seal.origin }
}

/// The author's Ed25519 signature over its whole stream up to one operation: the chain hash there covers all before
/// it, so a relay can neither forge, nor drop, nor reorder.
package struct BatchSeal: Hashable, Sendable {
    package static let authorBytes = 32
    package static let signatureBytes = 64

    package var origin: Origin
    package var sequence: UInt64
    /// The author's 32-byte public key; the origin's node is its hash, so a seal proves itself.
    package var author: [UInt8]
    /// 64 bytes over ``message(origin:sequence:chain:)``.
    package var signature: [UInt8]

    package init(origin: Origin, sequence: UInt64, author: [UInt8], signature: [UInt8]) {
        self.origin = origin
        self.sequence = sequence
        self.author = author
        self.signature = signature
    }

    /// What is signed. The swarm's key is not part of it: signatures outlive its rotation.
    package static func message(origin: Origin, sequence: UInt64, chain: ChainHash) -> [UInt8] {
        var writer = ByteWriter()
        writer.put(raw: Array("igris-op-1".utf8))
        writer.put(origin.node.bytes)
        writer.put(bigEndian: origin.epoch)
        writer.put(bigEndian: sequence)
        writer.put(raw: chain.bytes)
        return writer.bytes
    }
}
