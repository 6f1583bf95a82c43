import Gateway
import Guardian
import Settings

extension GatewayConfiguration {
    /// The gateway's part of the settings.
    init(_ settings: Settings) {
        self.init(
            host: settings.server.host, port: settings.server.port, allowedHosts: settings.server.allowedHosts,
            keys: settings.auth.keys.map { (name: $0.name ?? "", key: $0.key) },
            networkAccess: settings.auth.lan == .open ? .open : .key,
            addressAllowlist: settings.auth.ipAllowlist.map { $0 })
    }
}
