package import Core
package import Cryptography

/// The random key of this host that seals its store where no other is configured.
package enum DeviceKey {
    package static let fileName = "device.key"

    /// Errors as ``KeyFile/loadOrCreate(directory:name:)``.
    package static func loadOrCreate(directory: String) throws(RuntimeError) -> SymmetricKey {
        try KeyFile.loadOrCreate(directory: directory, name: fileName)
    }
}

/// Who this host is: its signing key, and the name that follows from it (swarm.md §1).
package struct NodeIdentity: Sendable {
    package static let fileName = "node.key"

    package let node: NodeID
    package let key: Ed25519.PrivateKey

    package init(key: Ed25519.PrivateKey) {
        let hash = SHA256.hash(key.publicKey.bytes)
        // A SHA-256 has more than the sixteen bytes asked for.
        node = NodeID(Bytes16(hash) ?? Bytes16(high: 0, low: 0))
        self.key = key
    }

    /// Errors as ``KeyFile/loadOrCreate(directory:name:)``.
    package static func loadOrCreate(directory: String) throws(RuntimeError) -> NodeIdentity {
        let seed = try KeyFile.loadOrCreate(directory: directory, name: fileName)
        do {
            return NodeIdentity(key: try Ed25519.PrivateKey(seed: seed))
        } catch {
            throw RuntimeError(.configuration, "the key file \(fileName) holds no signing key", cause: error)
        }
    }
}
