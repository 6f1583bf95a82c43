package import Core
package import Cryptography

/// A client that is known by a public key (`auth.agents`): there is nothing of it here that opens anything elsewhere.
package struct AgentKey: Sendable {
    package var name: String
    package var key: Ed25519.PublicKey
    package var scopes: Scopes

    package init(name: String, key: Ed25519.PublicKey, scopes: Scopes) {
        self.name = name
        self.key = key
        self.scopes = scopes
    }
}

/// In whose name a session is.
package enum SessionHolder: Hashable, Sendable {
    /// A key of the configuration.
    case key(String)
    /// As long as that one is valid itself.
    case token(TokenDigest)
    case agent(String, Scopes)
}

/// Sessions of clients that prove what they hold without sending it: they are given a nonce, sign it, and get a bearer
/// for a quarter of an hour. A pure machine: whoever owns it brings randomness and time, and checks signatures.
///
/// Bounds: ``Limits/challenges`` nonces, ``Limits/challengesPerOrigin`` of one origin; ``Limits/sessions`` sessions,
/// ``Limits/sessionsPerHolder`` of one holder. An origin that has its share of nonces gets no more; where there are too many
/// in all, the one that has most loses its oldest, so that nobody's few are pushed out by somebody's many. Of sessions the
/// oldest goes.
package struct SessionDesk: Sendable {
    package static let nonceBytes = 32

    /// What a nonce is good for.
    package struct Challenge: Hashable, Sendable {
        /// Who wants a session.
        package var agent: String
        /// Milliseconds since 1970.
        package var expires: UInt64

        package init(agent: String, expires: UInt64) {
            self.agent = agent
            self.expires = expires
        }

        /// What is signed: the host, the agent and the end are in it, so that it is worth nothing to another host, for
        /// another agent or later.
        package func message(nonce: [UInt8], node: NodeID) -> String {
            "igris-session-1\n\(node)\n\(agent)\n\(nonce.hex)\n\(expires)"
        }
    }

    private struct Open: Sendable {
        var challenge: Challenge
        var origin: String
    }

    private struct Session: Sendable {
        var holder: SessionHolder
        var expires: UInt64
    }

    private var challenges: [[UInt8]: Open] = [:]
    private var origins: [String: Int] = [:]
    private var sessions: [TokenDigest: Session] = [:]

    package init() {}

    package var openChallenges: Int { challenges.count }

    /// Gives out a nonce. Nil where the origin has too many.
    ///
    /// - Parameters:
    ///   - origin: from where it is asked for.
    ///   - nonce: ``nonceBytes`` random bytes.
    ///   - wall: milliseconds since 1970.
    package mutating func challenge(
        _ agent: String, of origin: String, nonce: [UInt8], at wall: UInt64
    ) -> Challenge? {
        if challenges.count >= Limits.challenges || origins[origin, default: 0] >= Limits.challengesPerOrigin {
            for (nonce, open) in challenges where open.challenge.expires <= wall { remove(nonce, open) }
        }
        guard origins[origin, default: 0] < Limits.challengesPerOrigin, nonce.count == Self.nonceBytes,
            challenges[nonce] == nil
        else { return nil }
        if challenges.count >= Limits.challenges { makeRoom() }
        let challenge = Challenge(
            agent: agent, expires: wall &+ UInt64(clamping: Limits.challengeLifetime.components.seconds) &* 1_000)
        challenges[nonce] = Open(challenge: challenge, origin: origin)
        origins[origin, default: 0] += 1
        return challenge
    }

    /// What a nonce was given out for. It is good for one answer, whatever comes of that: nil ever after, and for one
    /// that is unknown or too old.
    package mutating func take(_ nonce: [UInt8], at wall: UInt64) -> Challenge? {
        guard let open = challenges[nonce] else { return nil }
        remove(nonce, open)
        return open.challenge.expires > wall ? open.challenge : nil
    }

    private mutating func makeRoom() {
        guard let greediest = origins.max(by: { $0.value < $1.value })?.key,
            let oldest = challenges.filter({ $0.value.origin == greediest }).min(by: {
                $0.value.challenge.expires < $1.value.challenge.expires
            })
        else { return }
        remove(oldest.key, oldest.value)
    }

    private mutating func remove(_ nonce: [UInt8], _ open: Open) {
        challenges[nonce] = nil
        let left = origins[open.origin, default: 1] - 1
        origins[open.origin] = left > 0 ? left : nil
    }

    /// Begins a session whose bearer has this digest. Returns when it ends.
    package mutating func begin(_ digest: TokenDigest, for holder: SessionHolder, at wall: UInt64) -> UInt64 {
        sessions = sessions.filter { $0.value.expires > wall }
        let own = sessions.filter { $0.value.holder == holder }
        if own.count >= Limits.sessionsPerHolder {
            if let oldest = own.min(by: { $0.value.expires < $1.value.expires }) { sessions[oldest.key] = nil }
        } else if sessions.count >= Limits.sessions {
            if let oldest = sessions.min(by: { $0.value.expires < $1.value.expires }) { sessions[oldest.key] = nil }
        }
        let expires = wall &+ UInt64(clamping: Limits.sessionLifetime.components.seconds) &* 1_000
        sessions[digest] = Session(holder: holder, expires: expires)
        return expires
    }

    /// Nil for one that is unknown or over.
    package func holder(of digest: TokenDigest, at wall: UInt64) -> SessionHolder? {
        sessions[digest].flatMap { $0.expires > wall ? $0.holder : nil }
    }
}
