package import Core

/// The tokens of the swarm as the notes in its log tell of them. A pure machine.
///
/// Notes come in any order and more than once, and every host ends with the same table: of two that make one token the
/// earlier counts, and a token that anybody revoked is revoked, whatever else is said of it, before or after. It is
/// bounded, and once it had to forget that something was revoked, it believes no new token.
package struct TokenTable: Sendable {
    package enum Standing: Hashable, Sendable {
        case unknown
        case valid(AccessToken)
        case expired(AccessToken)
        case revoked
    }

    private struct Entry: Sendable {
        var token: AccessToken
        var place: (HybridTimestamp, Dot)
    }

    private var entries: [TokenDigest: Entry] = [:]
    private var revoked: Set<TokenDigest> = []
    private var isOverfull = false
    /// Up to when the expired ones were told.
    private var toldUpTo: UInt64 = 0

    package init() {}

    /// Returns the tokens that open nothing any more because of these.
    package mutating func noted(_ operations: [Operation]) -> [TokenDigest] {
        var ended: [TokenDigest] = []
        // One that cannot be read says nothing to this version.
        let notes = operations.filter { $0.kind == .token && $0.stream == TokenNote.stream }
            .compactMap { operation in (try? TokenNote.decode(operation)).flatMap(\.self).map { (operation, $0) } }
        for case (_, .revoked(let digest)) in notes { if revoke(digest) { ended.append(digest) } }
        for case (let operation, .made(let token)) in notes {
            let place = (operation.timestamp, operation.dot)
            if let entry = entries[token.digest], entry.place <= place { continue }
            guard !isOverfull, entries[token.digest] != nil || entries.count < Limits.tokens else { continue }
            entries[token.digest] = Entry(token: token, place: place)
        }
        return ended
    }

    /// Whether that is news.
    package mutating func revoke(_ digest: TokenDigest) -> Bool {
        guard !revoked.contains(digest) else { return false }
        guard revoked.count < Limits.revokedTokens else {
            isOverfull = true
            entries[digest] = nil
            return true
        }
        revoked.insert(digest)
        return true
    }

    /// - Parameter wall: milliseconds since 1970.
    package func standing(of digest: TokenDigest, at wall: UInt64) -> Standing {
        if revoked.contains(digest) { return .revoked }
        guard let token = entries[digest]?.token else { return .unknown }
        return Self.isOver(token, at: wall) ? .expired(token) : .valid(token)
    }

    /// Those that have expired since the last call.
    package mutating func expired(at wall: UInt64) -> [TokenDigest] {
        guard wall > toldUpTo else { return [] }
        let since = toldUpTo
        toldUpTo = wall
        return entries.values.lazy.map(\.token).filter { Self.isOver($0, at: wall) && !Self.isOver($0, at: since) }
            .map(\.digest)
    }

    /// The oldest first.
    package func all(at wall: UInt64) -> [(token: AccessToken, isRevoked: Bool, isExpired: Bool)] {
        entries.values.sorted { $0.place < $1.place }.map { entry in
            (entry.token, revoked.contains(entry.token.digest), Self.isOver(entry.token, at: wall))
        }
    }

    /// Those that are called so, by name or by id, and were not revoked.
    package func called(_ text: String) -> [AccessToken] {
        entries.values.filter {
            ($0.token.name == text || $0.token.id == text) && !revoked.contains($0.token.digest)
        }
        .sorted { $0.place < $1.place }.map(\.token)
    }

    package var hasRoom: Bool { !isOverfull && entries.count < Limits.tokens }

    private static func isOver(_ token: AccessToken, at wall: UInt64) -> Bool {
        token.expires.map { $0 <= wall } ?? false
    }
}
