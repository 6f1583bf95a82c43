/// How a host came to be known.
package enum DiscoveryChannel: String, Hashable, Comparable, Sendable, CaseIterable {
    case mdns
    case multicast
    case seed
    /// Told by a member.
    case peer
    /// Told by an operator (`POST /v1/swarm/join`).
    case manual

    package static func < (left: DiscoveryChannel, right: DiscoveryChannel) -> Bool { left.rawValue < right.rawValue }
}

/// A hint that a host may be reached somewhere. Only the TLS handshake decides who it is (swarm.md §11).
package struct Sighting: Hashable, Sendable {
    package var channel: DiscoveryChannel
    /// Candidates, the best first; never empty.
    package var addresses: [NetworkAddress]
    /// What it says of itself; nil where the channel tells nothing (a seed).
    package var node: NodeID?
    package var instance: InstanceID?
    package var swarm: SwarmID?
    package var security: SwarmSecurity?
    package var version: String?
    /// It said goodbye: a reason to probe it, not to forget it.
    package var isLeaving: Bool
    /// Its wall clock minus ours, where it told its own: a host with a wrong clock is found all the same.
    package var clockSkew: Duration?

    package init(
        channel: DiscoveryChannel, addresses: [NetworkAddress], node: NodeID? = nil, instance: InstanceID? = nil,
        swarm: SwarmID? = nil, security: SwarmSecurity? = nil, version: String? = nil, isLeaving: Bool = false,
        clockSkew: Duration? = nil
    ) {
        self.channel = channel
        self.addresses = addresses
        self.node = node
        self.instance = instance
        self.swarm = swarm
        self.security = security
        self.version = version
        self.isLeaving = isLeaving
        self.clockSkew = clockSkew
    }
}

/// How one way of discovery fares, for status pages and the doctor.
package struct DiscoveryStatus: Hashable, Sendable {
    package var channel: DiscoveryChannel
    /// `on`, `off` (by the settings) or `unavailable`.
    package var state: State
    /// One sentence, with the next step where one helps.
    package var detail: String
    package var sent: Int
    package var received: Int
    /// What came and was thrown away: not of this program, not authentic, or too much of it.
    package var refused: Int
    /// Milliseconds since 1970; nil before the first.
    package var lastSent: UInt64?
    package var lastReceived: UInt64?

    package enum State: String, Hashable, Sendable {
        case on
        case off
        case unavailable
    }

    package init(
        channel: DiscoveryChannel, state: State, detail: String, sent: Int = 0, received: Int = 0,
        refused: Int = 0, lastSent: UInt64? = nil, lastReceived: UInt64? = nil
    ) {
        self.channel = channel
        self.state = state
        self.detail = detail
        self.sent = sent
        self.received = received
        self.refused = refused
        self.lastSent = lastSent
        self.lastReceived = lastReceived
    }
}

/// What this host tells the LAN about itself.
package struct Announcement: Hashable, Sendable {
    package var node: NodeID
    package var instance: InstanceID
    package var swarm: SwarmID
    package var security: SwarmSecurity
    /// The address that the server listens on, as in the settings: where it is one of loopback, only this machine is
    /// told.
    package var host: String
    package var port: Int
    package var version: String

    package init(
        node: NodeID, instance: InstanceID, swarm: SwarmID, security: SwarmSecurity, host: String = "0.0.0.0",
        port: Int, version: String
    ) {
        self.node = node
        self.instance = instance
        self.swarm = swarm
        self.security = security
        self.host = host
        self.port = port
        self.version = version
    }
}

/// Finds hosts and is found. A channel that does not work is a state, never an error.
package protocol Discovery: Sendable {
    /// Everything that was seen from now on; own announcements are left out. One reader.
    var sightings: AsyncStream<Sighting> { get }
    /// Announces and listens until the task is cancelled, then says goodbye.
    func run(_ announcement: Announcement) async
    /// What is announced changed (the swarm's key was rotated).
    func announce(_ announcement: Announcement) async
    func status() async -> [DiscoveryStatus]
}
