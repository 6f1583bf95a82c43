package import Core

/// One host, as ``Mesh`` knows it.
package struct MeshHost: Hashable, Sendable {
    package enum Standing: String, Hashable, Sendable, CaseIterable {
        case linked
        /// Heard of, being tried.
        case connecting
        case unreachable
        case foreign
        case evicted
        case incompatible
        case cloned
    }

    /// Nil until a handshake or a sighting told.
    package var node: NodeID?
    package var instance: InstanceID?
    package var swarm: SwarmID?
    package var security: SwarmSecurity?
    package var name = ""
    package var version = ""
    /// The best first.
    package var addresses: [NetworkAddress]
    package var channels: [DiscoveryChannel] = []
    package var standing = Standing.connecting
    /// The reason and the next step, where it is not linked.
    package var whyNot: String?
    /// Since this host's start.
    package var lastSeen: Duration
    package var roundTrip: Duration?
    /// What its clock said at the zero of this host's monotonic one, since 1970, as it was when the link was made.
    package var clockAtZero: Duration?
    package var started: UInt64?
    package var link: LinkNumber?

    init(node: NodeID?, addresses: [NetworkAddress], lastSeen: Duration) {
        self.node = node
        self.addresses = addresses
        self.lastSeen = lastSeen
    }
}
