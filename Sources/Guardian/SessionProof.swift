internal import Core
internal import Cryptography

/// Who a signature under a challenge speaks for.
package struct SessionProof: Sendable {
    private let keys: ClientKeys
    private let agents: [AgentKey]

    package init(keys: ClientKeys, agents: [AgentKey]) {
        self.keys = keys
        self.agents = agents
    }

    /// An Ed25519 signature (RFC 8032) of an agent of that name, or an HMAC-SHA256 (RFC 2104) whose key is the SHA-256 of
    /// an API key or token of that name: of those no more is kept here. Nil for anything else.
    ///
    /// - Parameter tokens: the valid tokens of that name.
    package func holder(
        of name: String, signature: [UInt8], message: String, tokens: [AccessToken]
    ) -> SessionHolder? {
        let message = Array(message.utf8)
        if signature.count == Ed25519.signatureBytes {
            return agents.first { $0.name == name && $0.key.verify(signature, of: message) }
                .map { .agent($0.name, $0.scopes) }
        }
        guard signature.count == SHA256.digestBytes else { return nil }
        func isProof(_ digest: [UInt8]) -> Bool {
            HMACSHA256.isValid(signature, for: message, key: SymmetricKey(digest))
        }
        if keys.digests(of: name).contains(where: isProof) { return .key(name) }
        return tokens.first { $0.name == name && isProof($0.digest.bytes) }.map { .token($0.digest) }
    }
}
