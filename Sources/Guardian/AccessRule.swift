package import Core

/// Who may use this host, and as whom (design.md §2.13): loopback needs no key, any other address does.
package struct AccessRule: Sendable {
    /// `auth.required`: of whom a key is asked.
    package enum Requirement: String, Sendable, CaseIterable {
        /// Of other machines.
        case remote
        /// Of this machine as well, its operator's socket excepted.
        case always
    }

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
        /// What is said cannot be read on the way.
        package var isSecure: Bool
        /// What the TLS handshake has proved.
        package var certificate: ClientCertificate?
        /// The `Authorization` header.
        package var authorization: String?
        /// The `x-api-key` header.
        package var apiKey: String?

        package init(
            address: IPAddress?, isOwnUser: Bool = false, isSecure: Bool = false,
            certificate: ClientCertificate? = nil, authorization: String? = nil, apiKey: String? = nil
        ) {
            self.address = address
            self.isOwnUser = isOwnUser
            self.isSecure = isSecure
            self.certificate = certificate
            self.authorization = authorization
            self.apiKey = apiKey
        }
    }

    private let keys: ClientKeys
    private let network: NetworkAccess
    private let allowed: [AddressRange]

    private let required: Requirement
    private let zones: ZoneRule
    private let certificates: CertificateRule
    private let requiresTLS: Bool

    /// - Parameters:
    ///   - allowed: `auth.ip_allowlist`; empty allows every address. Loopback is always allowed.
    ///   - requiresTLS: `tls.required`: other machines are not answered over plain HTTP.
    package init(
        keys: ClientKeys, network: NetworkAccess, allowed: [AddressRange] = [],
        certificates: CertificateRule = CertificateRule(), requiresTLS: Bool = false,
        required: Requirement = .remote, zones: ZoneRule = ZoneRule()
    ) {
        self.required = required
        self.zones = zones
        self.certificates = certificates
        self.requiresTLS = requiresTLS
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
    ///   - isChange: it asks for more than to be shown something.
    ///   - tokens: what is known of a token.
    ///   - sessions: in whose name a session's bearer is; nil for none.
    ///   - isNeighbour: whether an address is of a network that this machine is on.
    /// - Throws: ``RuntimeError`` `.unauthenticated` or `.forbidden`, with the next step in the message.
    package func admit(
        _ caller: Caller, to access: Access, isChange: Bool = false,
        tokens: @escaping (TokenDigest) -> TokenTable.Standing = { _ in .unknown },
        sessions: @escaping (TokenDigest) -> SessionHolder? = { _ in nil },
        isNeighbour: (IPAddress) -> Bool = { _ in false }
    ) throws(RuntimeError) -> Identity {
        let isLocal = try place(of: caller)
        let proven = caller.certificate.flatMap { certificates.identity(of: $0) }
        let zone = zones.zone(
            of: caller.address, isLocal: isLocal, isProven: proven != nil, isNeighbour: isNeighbour)
        guard access != .anyone else { return Identity(owner: Owner(name: "anyone"), scopes: [], zone: zone) }
        var identity = try identity(
            of: caller, isLocal: isLocal, Known(tokens: tokens, sessions: sessions, certificate: proven))
        identity.zone = zone
        guard identity.scopes.allow(access) else { throw Self.refusal(of: access, to: identity) }
        // Who may only read may neither make an engine work nor have anything kept.
        if zone == .external, access == .admin || access == .chat && isChange { throw Self.readOnly }
        return identity
    }

    /// What else there is that opens something.
    private struct Known {
        var tokens: (TokenDigest) -> TokenTable.Standing
        var sessions: (TokenDigest) -> SessionHolder?
        /// As whom the certificate that was shown is known.
        var certificate: Identity?
    }

    /// Whether the caller is this machine itself. Throws where it may not ask at all, from there or so.
    private func place(of caller: Caller) throws(RuntimeError) -> Bool {
        let isLocal = caller.isOwnUser || caller.address?.isLoopback == true
        if !isLocal, !allowed.isEmpty {
            guard let address = caller.address, allowed.contains(where: { $0.contains(address) }) else {
                throw RuntimeError(
                    .forbidden,
                    "this address may not use this host; auth.ip_allowlist in its configuration lists who may")
            }
        }
        // Before any key is looked at: it was readable on its way, and should not come that way again.
        guard isLocal || caller.isSecure || !requiresTLS else { throw Self.needsTLS }
        return isLocal
    }

    private func identity(
        of caller: Caller, isLocal: Bool, _ known: Known
    ) throws(RuntimeError) -> Identity {
        let network: Scopes = [.chat, .read]
        // Where everyone must show something, the address alone is worth nothing.
        let isLocal = caller.isOwnUser || isLocal && required == .remote
        switch try credential(caller, known) {
        case .token(let token): return Identity(owner: token.owner, scopes: token.scopes, token: token)
        case .agent(let name, let scopes): return Identity(owner: Owner(name: "key:\(name)"), scopes: scopes)
        // What changes the swarm takes more than a key that lies in every client: the machine itself, or a token.
        case .key(let name): return Identity(owner: Owner(name: "key:\(name)"), scopes: isLocal ? .all : network)
        case nil: break
        }
        if let identity = known.certificate { return identity }
        if isLocal { return Identity(owner: .local, scopes: .all) }
        if caller.address?.isLoopback == true { throw Self.alwaysNeedsKey }
        if self.network == .open { return Identity(owner: Owner(name: "lan"), scopes: network) }
        throw RuntimeError(.unauthenticated, keys.isEmpty ? Self.noKeys : Self.needsKey)
    }

    private enum Credential: Hashable {
        case key(String)
        case token(AccessToken)
        case agent(String, Scopes)
    }

    /// Nil when nothing was sent that could be compared.
    private func credential(
        _ caller: Caller, _ known: Known
    ) throws(RuntimeError) -> Credential? {
        var presented: [String] = []
        if let header = caller.authorization { presented.append(Self.bearerToken(header) ?? "") }
        if let key = caller.apiKey { presented.append(key) }
        guard let first = presented.first, !keys.isEmpty || presented.contains(where: Self.looksLikeToken) else {
            return nil
        }
        let credential = try credential(first, known)
        // Two headers that name different keys leave open who asks: nobody, then.
        for other in presented.dropFirst() where other != first {
            guard try self.credential(other, known) == credential else { throw Self.unknown }
        }
        return credential
    }

    private func credential(
        _ text: String, _ known: Known
    ) throws(RuntimeError) -> Credential {
        if let name = keys.name(of: text) { return .key(name) }
        guard Self.looksLikeToken(text) else { throw Self.unknown }
        var digest = TokenDigest(of: text)
        if text.hasPrefix(TokenText.sessionPrefix) {
            switch known.sessions(digest) {
            case .key(let name): return .key(name)
            case .agent(let name, let scopes): return .agent(name, scopes)
            // Revoked with the token that it was opened with.
            case .token(let own): digest = own
            case nil: throw Self.sessionOver
            }
        }
        switch known.tokens(digest) {
        case .valid(let token): return .token(token)
        case .unknown: throw Self.unknown
        // Whoever holds it may know.
        case .revoked: throw RuntimeError(.unauthenticated, "this token was revoked; \(Self.newToken)")
        case .expired: throw RuntimeError(.unauthenticated, "this token has expired; \(Self.newToken)")
        }
    }

    /// The id of the token or certificate that a caller shows, whether it opens anything or not; empty for none.
    package static func tokenID(of caller: Caller) -> String {
        let shown = [caller.authorization.flatMap(bearerToken), caller.apiKey].compactMap(\.self)
        return shown.first(where: looksLikeToken).map { TokenDigest(of: $0).id } ?? caller.certificate?.id ?? ""
    }

    private static func looksLikeToken(_ text: String) -> Bool {
        text.hasPrefix(TokenText.prefix) || text.hasPrefix(TokenText.sessionPrefix)
    }

    private static func bearerToken(_ header: String) -> String? {
        let space = UInt8(ascii: " ")
        let words = header.utf8.drop { $0 == space }
        guard let end = words.firstIndex(of: space), Substring(words[..<end]).lowercased() == "bearer" else {
            return nil
        }
        let token = words[end...].drop { $0 == space }
        return token.isEmpty ? nil : String(Substring(token))
    }

    private static func refusal(of access: Access, to identity: Identity) -> RuntimeError {
        let word: String
        switch access {
        case .anyone, .known, .chat: word = "chat"
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

    private static let readOnly = RuntimeError(
        .forbidden,
        "this address is in the external zone, from which nothing can be changed and no model asked; use a certificate of "
            + "tls.client_ca, or add the network to auth.trusted_networks")
    private static let alwaysNeedsKey = RuntimeError(
        .unauthenticated,
        "this host needs an API key from this machine, too (auth.required); send one of auth.keys, or a token "
            + "(igris-runtime token new), as \"Authorization: Bearer KEY\" or \"x-api-key: KEY\"")
    private static let sessionOver = RuntimeError(
        .unauthenticated,
        "this session is over, or was opened at another host; open one here with POST /v1/auth/challenge and "
            + "/v1/auth/session")
    private static let needsTLS = RuntimeError(
        .forbidden,
        "this host takes requests of other machines over TLS only (tls.required); ask it with https:// at the same port"
    )
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
