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
    }

    /// A key without a name is called by a piece of its hash: the same on every host, and no way back to the key.
    private static func name(of key: Secret<String>) -> String {
        SHA256.hash(Array(key.reveal().utf8)).prefix(4).hex
    }
}
