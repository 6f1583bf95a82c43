package import Core
package import Cryptography

/// How a host signs its word, its stream and its claims, and how it checks the others': Ed25519 in the daemon, something
/// cheap in the simulator.
package struct SealScheme: Sendable {
    /// This host's public key: what goes into ``BatchSeal/author`` and ``SignedClaim/author``.
    package var author: [UInt8]
    package var sign: @Sendable (_ message: [UInt8]) throws(RuntimeError) -> [UInt8]
    package var verify: @Sendable (_ signature: [UInt8], _ message: [UInt8], _ author: [UInt8]) -> Bool
    /// Who signs as `author`; nil for bytes that are nobody's.
    package var node: @Sendable (_ author: [UInt8]) -> NodeID?

    package init(
        author: [UInt8], sign: @escaping @Sendable (_ message: [UInt8]) throws(RuntimeError) -> [UInt8],
        verify: @escaping @Sendable (_ signature: [UInt8], _ message: [UInt8], _ author: [UInt8]) -> Bool,
        node: @escaping @Sendable (_ author: [UInt8]) -> NodeID?
    ) {
        self.author = author
        self.sign = sign
        self.verify = verify
        self.node = node
    }

    /// The one that ships.
    package static func ed25519(_ key: Ed25519.PrivateKey) -> SealScheme {
        SealScheme(
            author: key.publicKey.bytes,
            sign: { message throws(RuntimeError) in
                do {
                    return try key.sign(message)
                } catch {
                    throw RuntimeError(.internal, "a message could not be signed", cause: error)
                }
            },
            verify: { signature, message, author in
                // Bytes that are no key signed nothing.
                guard let key = try? Ed25519.PublicKey(author) else { return false }
                return key.verify(signature, of: message)
            },
            node: { author in
                guard author.count == Ed25519.keyBytes else { return nil }
                return Bytes16(SHA256.hash(author)).map(NodeID.init)
            })
    }

    /// Whether the author, who must be the origin's host, vouches for the stream that ends in `chain`.
    package func vouches(_ seal: BatchSeal, for chain: ChainHash) -> Bool {
        node(seal.author) == seal.origin.node
            && verify(
                seal.signature,
                BatchSeal.message(origin: seal.origin, sequence: seal.sequence, chain: chain), seal.author)
    }

    /// This host's own word for a stream up to its head.
    package func sealed(_ head: LogHead) throws(RuntimeError) -> BatchSeal {
        BatchSeal(
            origin: head.origin, sequence: head.sequence, author: author,
            signature: try sign(
                BatchSeal.message(origin: head.origin, sequence: head.sequence, chain: head.chain)))
    }
}
