package import Core

package struct Mesh: Sendable {
    /// Who this host is.
    package struct Identity: Hashable, Sendable {
        package var node: NodeID
        package var instance: InstanceID
        package var security: SwarmSecurity
        package var name: String
        package var version: String
        package var port: Int
        package var addresses: [NetworkAddress]
        /// Milliseconds since 1970.
        package var started: UInt64

        package init(
            node: NodeID, instance: InstanceID, security: SwarmSecurity, name: String, version: String, port: Int,
            addresses: [NetworkAddress], started: UInt64
        ) {
            self.node = node
            self.instance = instance
            self.security = security
            self.name = name
            self.version = version
            self.port = port
            self.addresses = addresses
            self.started = started
        }
    }

    package enum Event: Hashable, Sendable {
        case sighted(Sighting)
        /// A link is open, dialed or accepted; nothing but mesh messages may be sent on it until it is `adopted`.
        case opened(LinkNumber, node: NodeID, swarm: SwarmID, address: NetworkAddress, isDialed: Bool)
        /// A `dial` came to nothing.
        case failed(NetworkAddress, LinkFailure)
        case received(LinkNumber, MeshMessage)
        case closed(LinkNumber)
        /// What ``Membership`` holds of a host now, with the addresses it tells.
        case member(NodeID, Member.State, addresses: [NetworkAddress])
        /// The swarm tags this host accepts now: two during a rotation.
        case swarms([SwarmID])
        case denied(Set<NodeID>)
        /// This host's own addresses changed.
        case moved([NetworkAddress])
        /// Whom the overlay wants as neighbours; nil: everyone.
        case neighbours([NodeID]?)
        case ticked
    }

    package enum Effect: Hashable, Sendable {
        /// Answered by `opened` or `failed`.
        case dial(NetworkAddress)
        case send(LinkNumber, MeshMessage)
        case close(LinkNumber)
        /// From now on this link, and no other, carries all channels with `node`. Any earlier one was `lost`.
        case adopted(LinkNumber, NodeID, Greeting)
        /// The link in use with `node` is gone.
        case lost(LinkNumber, NodeID)
        /// Nobody listens any more where `node` did: for ``Membership``.
        case refused(NodeID)
        /// This host is reached at addresses that it did not know: for ``MemberFacts``.
        case reachable([NetworkAddress])
        /// Something an operator should know changed with this host: it is foreign, cloned, …
        case noticed(MeshHost)
    }

    package init(_ identity: Identity, swarms: [SwarmID], seed: UInt64) {}
    /// When the next `ticked` is due.
    package var wake: Duration { .seconds(3600) }
    /// Everyone this host knows of, itself left out.
    package var hosts: [MeshHost] { [] }
    /// - Parameter wallClock: milliseconds since 1970.
    package mutating func step(_ event: Event, now: Duration, wallClock: UInt64) -> [Effect] { [] }
}

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
    package var name: String
    package var version: String
    /// The best first; never empty.
    package var addresses: [NetworkAddress]
    package var channels: [DiscoveryChannel]
    package var standing: Standing
    /// The reason and the next step, where it is not linked.
    package var whyNot: String?
    /// Since this host's start.
    package var lastSeen: Duration
    package var roundTrip: Duration?
    /// Its clock minus ours.
    package var clockSkew: Duration?
    package var started: UInt64?
    package var link: LinkNumber?
}
