import Core
import Cryptography
import Gateway
import Guardian
import Settings

extension GatewayConfiguration {
    /// The gateway's part of the settings.
    init(_ settings: Settings) {
        self.init(
            host: settings.server.host, port: settings.server.port, allowedHosts: settings.server.allowedHosts,
            keys: settings.auth.keys.map { (name: $0.name ?? Self.name(of: $0.key), key: $0.key) },
            networkAccess: settings.auth.lan == .open ? .open : .key,
            addressAllowlist: settings.auth.ipAllowlist, requestsPerAddress: settings.auth.rateLimit)
        required = AccessRule.Requirement(rawValue: settings.auth.required.rawValue) ?? .always
        zones = ZoneRule(trusted: settings.auth.trustedNetworks, external: settings.auth.externalNetworks)
        requiresTLS = settings.tls.isRequired
        certificates = CertificateRule(
            settings.tls.clients.map { client in
                CertificateRule.Entry(
                    name: client.name, subject: client.subject, fingerprint: client.fingerprint,
                    scopes: Scopes(client.scopes))
            })
    }

    /// Who is known by a public key.
    static func agents(_ settings: Settings) throws -> [AgentKey] {
        try settings.auth.agents.map { agent in
            AgentKey(
                name: agent.name, key: try Ed25519.PublicKey([UInt8](hex: agent.publicKey) ?? []),
                scopes: Scopes(agent.scopes))
        }
    }

    /// A key without a name is called by a piece of its hash: the same on every host, and no way back to the key.
    private static func name(of key: Secret<String>) -> String {
        SHA256.hash(Array(key.reveal().utf8)).prefix(4).hex
    }
}

extension Scopes {
    init(_ settings: [Settings.Scope]) { self.init(settings.compactMap { Scopes(word: $0.rawValue) }) }
}
