package import Core
package import Cryptography

/// Signs this host's claims and checks those of others. In production Ed25519; simulations may take a hash.
package struct ClaimAuthority: Sendable {
    /// This host's public key, 32 bytes.
    package var publicKey: [UInt8]
    /// 64 bytes; empty when signing failed, which makes the claim void.
    package var sign: @Sendable ([UInt8]) -> [UInt8]
    package var isValid: @Sendable (_ signature: [UInt8], _ message: [UInt8], _ publicKey: [UInt8]) -> Bool
    package var node: @Sendable (_ publicKey: [UInt8]) -> NodeID?

    package init(
        publicKey: [UInt8], sign: @escaping @Sendable ([UInt8]) -> [UInt8],
        isValid: @escaping @Sendable ([UInt8], [UInt8], [UInt8]) -> Bool,
        node: @escaping @Sendable ([UInt8]) -> NodeID?
    ) {
        self.publicKey = publicKey
        self.sign = sign
        self.isValid = isValid
        self.node = node
    }
}

extension ClaimAuthority {
    /// Ed25519, as the certificates of links have it.
    package static func ed25519(_ key: Ed25519.PrivateKey) -> ClaimAuthority {
        ClaimAuthority(
            publicKey: key.publicKey.bytes,
            // A failure leaves the claim unsigned: others refuse it, and this host is not seen. OpenSSL fails so only
            // without memory.
            sign: { (try? key.sign($0)) ?? [] },
            isValid: { signature, message, author in
                // Bytes that are no key signed nothing.
                (try? Ed25519.PublicKey(author))?.verify(signature, of: message) ?? false
            },
            node: { Bytes16(SHA256.hash($0)).map(NodeID.init) })
    }
}
