package import Core
package import Guardian

/// What the gateway needs to know of the settings.
package struct GatewayConfiguration: Sendable {
    /// The address to listen on.
    package var host: String
    /// 0 takes any free port.
    package var port: Int
    /// More names by which this host is called (``HostRule``).
    package var allowedHosts: [String]
    package var keys: [(name: String, key: Secret<String>)]
    package var networkAccess: AccessRule.NetworkAccess
    /// Empty allows every address.
    package var addressAllowlist: [AddressRange]
    /// Requests a minute of one address; nil: as many as come.
    package var requestsPerAddress: Int?
    /// What clients may do by their certificates.
    package var certificates = CertificateRule()
    /// Plain requests of other machines are refused.
    package var requiresTLS = false
    package var required = AccessRule.Requirement.remote
    package var zones = ZoneRule()
    package var limits: GatewayLimits
    /// Where the daemon's own user finds it besides; nil: nowhere.
    package var adminSocket: String?

    package init(
        host: String = "0.0.0.0", port: Int = 8080, allowedHosts: [String] = [],
        keys: [(name: String, key: Secret<String>)] = [], networkAccess: AccessRule.NetworkAccess = .key,
        addressAllowlist: [AddressRange] = [], requestsPerAddress: Int? = nil,
        limits: GatewayLimits = GatewayLimits()
    ) {
        self.host = host
        self.port = port
        self.allowedHosts = allowedHosts
        self.keys = keys
        self.networkAccess = networkAccess
        self.addressAllowlist = addressAllowlist
        self.requestsPerAddress = requestsPerAddress
        self.limits = limits
    }
}

/// The waits and counts of ``Limits`` that a test needs shorter; nobody else sets them.
package struct GatewayLimits: Sendable {
    package var headerDeadline = Limits.headerDeadline
    package var bodyIdle = Limits.bodyIdle
    package var keepAliveIdle = Limits.keepAliveIdle
    package var heartbeat = Limits.heartbeat
    package var modelPatience = Limits.modelPatience
    package var loadingNotice = Limits.loadingNotice
    package var streamStall = Limits.streamStall
    package var drain = Limits.drain
    package var drainQuiet = Limits.drainQuiet
    package var connections = Limits.connections
    package var connectionsPerAddress = Limits.connectionsPerAddress

    package init() {}
}
