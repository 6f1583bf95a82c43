package import Core
internal import Cryptography
package import Guardian
internal import Metrics
internal import Synchronization

/// Sessions of this host's clients: the shell of ``SessionDesk``. They live in memory, on this host alone.
package final class AuthSessions: Sendable {
    package struct Challenge: Sendable {
        package var nonce: [UInt8]
        package var message: String
        /// Milliseconds since 1970.
        package var expires: UInt64
    }

    package struct Session: Sendable {
        package var text: Secret<String>
        package var holder: SessionHolder
        package var expires: UInt64
    }

    private let node: NodeID
    private let proof: SessionProof
    private let tokens: AccessTokens?
    private let wallClock: @Sendable () -> UInt64
    private let desk = Mutex(SessionDesk())
    private let opened = Counter(label: "igris_auth_sessions_total", dimensions: [("outcome", "opened")])
    private let refused = Counter(label: "igris_auth_sessions_total", dimensions: [("outcome", "refused")])

    /// - Parameters:
    ///   - tokens: nil where this host keeps none.
    ///   - wallClock: milliseconds since 1970.
    package init(
        node: NodeID, keys: ClientKeys, agents: [AgentKey], tokens: AccessTokens?,
        wallClock: @escaping @Sendable () -> UInt64
    ) {
        self.node = node
        proof = SessionProof(keys: keys, agents: agents)
        self.tokens = tokens
        self.wallClock = wallClock
    }

    /// A nonce for whoever says to be `agent`; whether there is one of that name is not told.
    ///
    /// - Throws: ``RuntimeError`` `.overloaded` where too many are out.
    package func challenge(_ agent: String, from origin: String) throws -> Challenge {
        let nonce = try SecureRandom.bytes(SessionDesk.nonceBytes)
        let wall = wallClock()
        guard let challenge = desk.withLock({ $0.challenge(agent, of: origin, nonce: nonce, at: wall) }) else {
            throw RuntimeError(
                .overloaded, "too many challenges are unanswered; answer one, or try again in a minute")
        }
        return Challenge(
            nonce: nonce, message: challenge.message(nonce: nonce, node: node), expires: challenge.expires)
    }

    /// A session for a nonce that is signed rightly, once.
    ///
    /// - Throws: ``RuntimeError`` `.unauthenticated`, the same for every reason.
    package func open(_ nonce: [UInt8], signature: [UInt8]) throws -> Session {
        let wall = wallClock()
        guard let challenge = desk.withLock({ $0.take(nonce, at: wall) }),
            let holder = proof.holder(
                of: challenge.agent, signature: signature, message: challenge.message(nonce: nonce, node: node),
                tokens: tokens?.valid(called: challenge.agent) ?? [])
        else {
            refused.increment()
            throw RuntimeError(
                .unauthenticated,
                "this opens no session: the nonce is unknown, used or too old, or the signature is not the agent's; ask for "
                    + "another one with POST /v1/auth/challenge")
        }
        let text = TokenText.make(try SecureRandom.bytes(TokenText.randomBytes), prefix: TokenText.sessionPrefix)
        let expires = desk.withLock { $0.begin(TokenDigest(of: text.reveal()), for: holder, at: wall) }
        opened.increment()
        return Session(text: text, holder: holder, expires: expires)
    }

    package func holder(of digest: TokenDigest) -> SessionHolder? {
        let wall = wallClock()
        return desk.withLock { $0.holder(of: digest, at: wall) }
    }
}
