import Core
import Guardian
import Node

/// What is done with a token, for as long as it is: when the token is revoked or expires meanwhile, on whichever host,
/// the connection goes.
struct TokenLease {
    private let tokens: AccessTokens
    private let digest: TokenDigest
    private let number: UInt64

    /// Nil for a client without a token. Throws ``RuntimeError`` `.unauthenticated` where it was revoked just now.
    init?(_ identity: Identity, _ tokens: AccessTokens?, _ client: ClientConnection) throws(RuntimeError) {
        guard let digest = identity.token?.digest, let tokens else { return nil }
        guard let number = tokens.begin(digest, end: { client.cutOff() }) else {
            throw RuntimeError(.unauthenticated, "this token opens nothing any more")
        }
        self.tokens = tokens
        self.digest = digest
        self.number = number
    }

    func end() { tokens.finish(digest, number) }
}
