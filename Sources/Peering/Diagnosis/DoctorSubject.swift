package import Core

/// What the daemon (or, without one, the command line) knows and the doctor cannot look up itself.
package struct DoctorSubject: Sendable {
    /// Asks a linked peer; nil when it did not answer in time.
    package typealias Ask = @Sendable (NodeID, DiagnosisQuestion) async -> DiagnosisAnswer?

    /// Of the daemon as it runs.
    package struct Daemon: Sendable {
        package var node: NodeID
        package var swarm: SwarmID
        package var version: String
        package var channels: [DiscoveryStatus]
        /// Everyone it knows of, itself included.
        package var hosts: [HostReport]
        package var ask: Ask

        package init(
            node: NodeID, swarm: SwarmID, version: String, channels: [DiscoveryStatus], hosts: [HostReport],
            ask: @escaping Ask
        ) {
            self.node = node
            self.swarm = swarm
            self.version = version
            self.channels = channels
            self.hosts = hosts
            self.ask = ask
        }
    }

    // The settings: `mcp.enabled`, `mcp.mdns`, …
    package var isEnabled: Bool
    package var mdns: Bool
    package var multicast: Bool
    package var multicastPort: Int
    package var seeds: [NetworkAddress]
    /// `server.host` and `server.port`.
    package var host: String
    package var port: Int
    package var security: SwarmSecurity
    /// Where the swarm's key came from, in words; nil where that is not known.
    package var keySource: String?
    /// The key was made on this machine, and no host of another one was ever met with it.
    package var isKeyOfThisMachineOnly: Bool
    /// `auth.ip_allowlist`; empty lets all in.
    package var addressAllowlist: [String]
    /// Nil when it does not run: then what only a daemon knows is skipped.
    package var daemon: Daemon?

    package init(
        isEnabled: Bool = true, mdns: Bool = true, multicast: Bool = true, multicastPort: Int = 5354,
        seeds: [NetworkAddress] = [], host: String = "0.0.0.0", port: Int = 8080, security: SwarmSecurity = .key,
        keySource: String? = nil, isKeyOfThisMachineOnly: Bool = false, addressAllowlist: [String] = [],
        daemon: Daemon? = nil
    ) {
        self.isEnabled = isEnabled
        self.mdns = mdns
        self.multicast = multicast
        self.multicastPort = multicastPort
        self.seeds = seeds
        self.host = host
        self.port = port
        self.security = security
        self.keySource = keySource
        self.isKeyOfThisMachineOnly = isKeyOfThisMachineOnly
        self.addressAllowlist = addressAllowlist
        self.daemon = daemon
    }
}

extension DoctorSubject {
    var peers: [HostReport] { daemon?.hosts.filter { !$0.isSelf } ?? [] }
    var linkedPeers: [HostReport] { peers.filter { $0.state == .alive || $0.state == .suspect } }
    /// Those that should answer and do not, or not yet: whether they can be connected to is worth a try.
    var silentPeers: [HostReport] {
        peers.filter { [.connecting, .unreachable, .suspect, .dead].contains($0.state) }
    }
    func status(_ channel: DiscoveryChannel) -> DiscoveryStatus? {
        daemon?.channels.first { $0.channel == channel }
    }
}
