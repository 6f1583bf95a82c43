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
        /// The `Authorization` header.
        package var authorization: String?
        /// The `x-api-key` header.
        package var apiKey: String?

        package init(address: IPAddress?, authorization: String? = nil, apiKey: String? = nil) {
            self.address = address
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

    /// The one decision for every header and every transport.
    ///
    /// A presented key must be right everywhere, also on loopback. Where no key is configured there is nothing that it
    /// could be compared with, and the fill-in keys that client libraries insist on sending are ignored.
    ///
    /// - Throws: ``RuntimeError`` `.unauthenticated` or `.forbidden`, with the next step in the message.
    package func owner(of caller: Caller) throws(RuntimeError) -> Owner {
        let isLocal = caller.address?.isLoopback ?? false
        if !isLocal, !allowed.isEmpty {
            guard let address = caller.address, allowed.contains(where: { $0.contains(address) }) else {
                throw RuntimeError(
                    .forbidden,
                    "this address may not use this host; auth.ip_allowlist in its configuration lists who may")
            }
        }
        if !keys.isEmpty, let name = try presentedKeyName(caller) { return Owner(name: "key:\(name)") }
        if isLocal { return .local }
        if network == .open { return Owner(name: "lan") }
        throw RuntimeError(.unauthenticated, keys.isEmpty ? Self.noKeys : Self.needsKey)
    }

    /// Nil when no key was sent.
    private func presentedKeyName(_ caller: Caller) throws(RuntimeError) -> String? {
        var presented: [String] = []
        if let header = caller.authorization { presented.append(Self.bearerToken(header) ?? "") }
        if let key = caller.apiKey { presented.append(key) }
        guard let first = presented.first else { return nil }
        // Two headers that name different keys leave open who asks: nobody, then.
        guard let name = keys.name(of: first), presented.allSatisfy({ keys.name(of: $0) == name }) else {
            throw RuntimeError(
                .unauthenticated,
                "the API key is not known here; send one of auth.keys as \"Authorization: Bearer KEY\" "
                    + "or \"x-api-key: KEY\""
            )
        }
        return name
    }

    private static func bearerToken(_ header: String) -> String? {
        let parts = header.split(separator: " ", maxSplits: 1)
        guard parts.count == 2, let scheme = parts.first, scheme.lowercased() == "bearer" else { return nil }
        return parts.last.map { String($0.drop { $0 == " " }) }
    }

    private static let needsKey =
        "callers from other machines need an API key; send one of auth.keys as \"Authorization: Bearer KEY\" "
        + "or \"x-api-key: KEY\""
    private static let noKeys =
        "callers from other machines need an API key, and none is configured here; add one to auth.keys in the "
        + "configuration, or set auth.lan to \"open\" on a network where everyone may use this host"
}
