package import Core

/// Who may use this host, and as whom (design.md §2.13): loopback needs no key, any other address does.
package struct AccessRule: Sendable {
    /// What `auth.lan` says about callers from other machines.
    package enum NetworkAccess: String, Sendable, CaseIterable {
        case key
        case open
    }

    /// What a request shows of its sender.
    package struct Caller: Sendable {
        /// Nil where the transport has no addresses; such a caller counts as another machine.
        package var address: IPAddress?
        /// A process of this daemon's own user, on its socket.
        package var isOwnUser: Bool
        /// The `Authorization` header.
        package var authorization: String?
        /// The `x-api-key` header.
        package var apiKey: String?

        package init(
            address: IPAddress?, isOwnUser: Bool = false, authorization: String? = nil, apiKey: String? = nil
        ) {
            self.address = address
            self.isOwnUser = isOwnUser
            self.authorization = authorization
            self.apiKey = apiKey
        }
    }

    private let keys: ClientKeys
    private let network: NetworkAccess
    private let allowed: [AddressRange]

    /// - Parameter allowed: `auth.ip_allowlist`; empty allows every address. Loopback is always allowed.
    package init(keys: ClientKeys, network: NetworkAccess, allowed: [AddressRange] = []) {
        self.keys = keys
        self.network = network
        self.allowed = allowed
    }

    /// The one decision, for every route, header and transport: as whom a request is answered, if at all.
    ///
    /// A presented key must be right everywhere, also on loopback. Where no key is configured there is nothing that it
    /// could be compared with, and the fill-in keys that client libraries insist on sending are ignored; what looks like
    /// a token is compared always.
    ///
    /// - Parameters:
    ///   - tokens: what is known of a token.
    /// - Throws: ``RuntimeError`` `.unauthenticated` or `.forbidden`, with the next step in the message.
    package func admit(
        _ caller: Caller, to access: Access, tokens: (TokenDigest) -> TokenTable.Standing = { _ in .unknown }
    ) throws(RuntimeError) -> Identity {
        let identity = try identity(of: caller, tokens)
        guard identity.scopes.allow(access) else { throw Self.refusal(of: access, to: identity) }
        return identity
    }

    private func identity(
        of caller: Caller, _ tokens: (TokenDigest) -> TokenTable.Standing
    ) throws(RuntimeError) -> Identity {
        let isLocal = caller.isOwnUser || caller.address?.isLoopback == true
        if !isLocal, !allowed.isEmpty {
            guard let address = caller.address, allowed.contains(where: { $0.contains(address) }) else {
                throw RuntimeError(
                    .forbidden,
                    "this address may not use this host; auth.ip_allowlist in its configuration lists who may")
            }
        }
        let network: Scopes = [.chat, .read]
        switch try credential(caller, tokens) {
        case .token(let token): return Identity(owner: token.owner, scopes: token.scopes, token: token)
        // What changes the swarm takes more than a key that lies in every client: the machine itself, or a token.
        case .key(let name): return Identity(owner: Owner(name: "key:\(name)"), scopes: isLocal ? .all : network)
        case nil: break
        }
        if isLocal { return Identity(owner: .local, scopes: .all) }
        if self.network == .open { return Identity(owner: Owner(name: "lan"), scopes: network) }
        throw RuntimeError(.unauthenticated, keys.isEmpty ? Self.noKeys : Self.needsKey)
    }

    private enum Credential: Hashable {
        case key(String)
        case token(AccessToken)
    }

    /// Nil when nothing was sent that could be compared.
    private func credential(
        _ caller: Caller, _ tokens: (TokenDigest) -> TokenTable.Standing
    ) throws(RuntimeError) -> Credential? {
        var presented: [String] = []
        if let header = caller.authorization { presented.append(Self.bearerToken(header) ?? "") }
        if let key = caller.apiKey { presented.append(key) }
        guard let first = presented.first, !keys.isEmpty || presented.contains(where: Self.looksLikeToken) else {
            return nil
        }
        let credential = try credential(first, tokens)
        // Two headers that name different keys leave open who asks: nobody, then.
        for other in presented.dropFirst() where other != first {
            guard try self.credential(other, tokens) == credential else { throw Self.unknown }
        }
        return credential
    }

    private func credential(
        _ text: String, _ tokens: (TokenDigest) -> TokenTable.Standing
    ) throws(RuntimeError) -> Credential {
        if let name = keys.name(of: text) { return .key(name) }
        guard Self.looksLikeToken(text) else { throw Self.unknown }
        switch tokens(TokenDigest(of: text)) {
        case .valid(let token): return .token(token)
        case .unknown: throw Self.unknown
        // Whoever holds it may know.
        case .revoked: throw RuntimeError(.unauthenticated, "this token was revoked; \(Self.newToken)")
        case .expired: throw RuntimeError(.unauthenticated, "this token has expired; \(Self.newToken)")
        }
    }

    /// The id of the token that a caller shows, whether it opens anything or not; empty for none.
    package static func tokenID(of caller: Caller) -> String {
        let shown = [caller.authorization.flatMap(bearerToken), caller.apiKey].compactMap(\.self)
        return shown.first(where: looksLikeToken).map { TokenDigest(of: $0).id } ?? ""
    }

    private static func looksLikeToken(_ text: String) -> Bool { text.hasPrefix(TokenText.prefix) }

    private static func bearerToken(_ header: String) -> String? {
        let parts = header.split(separator: " ", maxSplits: 1)
        guard parts.count == 2, let scheme = parts.first, scheme.lowercased() == "bearer" else { return nil }
        return parts.last.map { String($0.drop { $0 == " " }) }
    }

    private static func refusal(of access: Access, to identity: Identity) -> RuntimeError {
        let word: String
        switch access {
        case .known, .chat: word = "chat"
        case .read: word = "read"
        case .peer:
            return RuntimeError(.unauthenticated, "this path is for hosts of the swarm; no key opens it")
        case .admin where identity.token == nil:
            return RuntimeError(
                .forbidden,
                "this changes the swarm, this host's models or who may use them, and is only done from the machine "
                    + "itself or with a token of the scope admin; run it there, or make one there: "
                    + "igris-runtime token new NAME --scope admin")
        case .admin: word = "admin"
        }
        return RuntimeError(
            .forbidden, "this token is not for that: it lacks the scope \(word) (igris-runtime token new --scope)")
    }

    private static let newToken = "make another one on a host of the swarm: igris-runtime token new NAME"
    private static let unknown = RuntimeError(
        .unauthenticated,
        "the API key is not known here; send one of auth.keys, or a token, as \"Authorization: Bearer KEY\" "
            + "or \"x-api-key: KEY\"")
    private static let needsKey =
        "callers from other machines need an API key; send one of auth.keys, or a token (igris-runtime token new), as "
        + "\"Authorization: Bearer KEY\" or \"x-api-key: KEY\""
    private static let noKeys =
        "callers from other machines need a token; make one on this machine with igris-runtime token new NAME, or add "
        + "an API key to auth.keys in the configuration, or set auth.lan to \"open\" on a network where everyone may use this host"
}
