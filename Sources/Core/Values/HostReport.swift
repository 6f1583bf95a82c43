/// One host as `/v1/mcp/peers`, `/v1/swarm/nodes` and `igris-runtime peers` show it.
package struct HostReport: Hashable, Sendable {
    package enum State: String, Hashable, Sendable, CaseIterable {
        case alive
        /// Did not answer; others are asked.
        case suspect
        case dead
        /// Said goodbye.
        case left
        /// Heard of, not linked yet.
        case connecting
        /// Heard of, and cannot be linked with: `whyNot` says why.
        case unreachable
        /// Another swarm's key.
        case foreign
        case evicted
        /// One side is open, the other keyed.
        case incompatible
        /// A second instance with an identity that is in use.
        case cloned

        /// Holds this swarm's key and was met: it keeps the conversations, now or when it is back.
        package var isMember: Bool {
            switch self {
            case .alive, .suspect, .dead, .left: true
            case .connecting, .unreachable, .foreign, .evicted, .incompatible, .cloned: false
            }
        }
    }

    package var id: NodeID?
    package var isSelf: Bool
    package var name: String
    package var address: NetworkAddress
    package var state: State
    /// The reason and the next step, where it is not a member in good order.
    package var whyNot: String?
    /// Milliseconds since 1970.
    package var lastSeen: UInt64
    package var roundTrip: Duration?
    /// Operations it has and this host does not, and the other way round.
    package var behind: Int
    package var ahead: Int
    /// Whether it has said what it holds, over the link that it has now; nil without a link: then nobody here can tell.
    package var isCompared: Bool?
    package var version: String
    /// `worker` until there are elections.
    package var role: String
    /// Where it stands, by its own word; empty where it does not say.
    package var zone: String
    package var models: [HostedModel]
    package var channels: [DiscoveryChannel]
    package var swarm: SwarmID?
    /// Its clock minus ours.
    package var clockSkew: Duration?
    /// From 0 to 100, by what this host has seen of it; nil for itself and for those it never met.
    package var reputation: Int?
    /// Its reputation is so low that this host has no link with it for now.
    package var isExcluded: Bool

    package init(
        id: NodeID?, isSelf: Bool = false, name: String = "", address: NetworkAddress, state: State,
        whyNot: String? = nil, lastSeen: UInt64, roundTrip: Duration? = nil, behind: Int = 0, ahead: Int = 0,
        isCompared: Bool? = nil, version: String = "", role: String = "worker", zone: String = "",
        models: [HostedModel] = [],
        channels: [DiscoveryChannel] = [], swarm: SwarmID? = nil, clockSkew: Duration? = nil, reputation: Int? = nil,
        isExcluded: Bool = false
    ) {
        self.id = id
        self.isSelf = isSelf
        self.name = name
        self.address = address
        self.state = state
        self.whyNot = whyNot
        self.lastSeen = lastSeen
        self.roundTrip = roundTrip
        self.behind = behind
        self.ahead = ahead
        self.isCompared = isCompared
        self.version = version
        self.role = role
        self.zone = zone
        self.models = models
        self.channels = channels
        self.swarm = swarm
        self.clockSkew = clockSkew
        self.reputation = reputation
        self.isExcluded = isExcluded
    }
}
