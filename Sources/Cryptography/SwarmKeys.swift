/// What follows from one swarm key (swarm.md §11). Each purpose has its own key, so that none tells anything of
/// another.
package struct SwarmKeys: Sendable {
    /// The key itself: what `swarm key` shows and a rotation hands on.
    package let key: SymmetricKey
    /// The swarm's public name, 16 bytes; tells nothing of the key.
    package let tag: [UInt8]
    /// The seed of the certificate authority.
    package let authority: SymmetricKey
    /// Authenticates beacons and TXT records.
    package let discovery: SymmetricKey
    /// Seals session tokens, which any host of the swarm must be able to read.
    package let session: SymmetricKey
    /// Keyed hashes that must be equal on all hosts: recognised histories, idempotency keys.
    package let index: SymmetricKey

    package static let tagBytes = 16

    /// - Parameter key: 32 bytes.
    package init(_ key: SymmetricKey) throws(CryptographyError) {
        guard key.count == 32 else { throw .invalidLength(of: "a swarm key") }
        self.key = key
        tag = try HKDF.derive(key: key, label: "igris-swarm-tag-1", count: Self.tagBytes).reveal()
        authority = try HKDF.derive(key: key, label: "igris-swarm-authority-1")
        discovery = try HKDF.derive(key: key, label: "igris-swarm-discovery-1")
        session = try HKDF.derive(key: key, label: "igris-swarm-session-1")
        index = try HKDF.derive(key: key, label: "igris-swarm-index-1")
    }

    /// Of the swarm that everyone on a LAN may join (`mcp.open`): the key is public.
    package static func open() throws(CryptographyError) -> SwarmKeys {
        try SwarmKeys(SymmetricKey(SHA256.hash(Array("igris-runtime open swarm 1".utf8))))
    }
}
