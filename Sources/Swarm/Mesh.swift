// Whom to dial, and which link to keep (swarm.md §5, §11). Everyone dials everyone up to `limit` hosts; above, the
// neighbours that Overlay chose, whoever is taken for dead now and then, and whoever a link was lost with, once: whether
// somebody listens there tells if it died.
//
// Both sides may dial at once, and dial again when only one of them knows that a link is gone. Exactly one link
// survives, the same on both sides, by these rules:
//
// - The dialing side speaks first, and only when it holds no link with that host (otherwise it merely inquires). It
//   takes the link into use with the answer, the accepting side with sending it.
// - Two greetings cross: the link that the lower id dialed wins. The other side takes it and closes its own.
// - A greeting where there is a link: it comes from before that link, or from after its end. Attempts are numbered and
//   a greeting tells the latest of the receiver's that the sender took: that decides.
// - Another instance with an id that is linked is let in only when the old one does not answer a ping within a second:
//   else it is a clone, refused and named.
//
// Bounds: Limits.knownHosts, `limit` links and for moments a few more (``hasRoom(for:)``), Limits.memberAddresses a host,
// 16 dials at once; a host that cannot be linked with is tried after 0.1 s, then ever later up to 30 s.

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
        /// The others deny this host.
        case evicted
        /// This host's own addresses changed; those at which others reached it besides stay.
        case moved([NetworkAddress])
        /// Whom the overlay wants as neighbours; nil: everyone.
        case neighbours(Overlay.Neighbours?)
        /// The overlay wants one link less.
        case release(NodeID)
        case ticked
    }

    package enum Effect: Hashable, Sendable {
        /// Answered by `opened` or `failed`.
        case dial(NetworkAddress)
        case send(LinkNumber, MeshMessage)
        /// What was sent before still goes out. No `closed` need follow.
        case close(LinkNumber)
        /// From now on this link, and no other, carries all channels with `node`. Any earlier one was `lost`.
        case adopted(LinkNumber, NodeID, Greeting)
        /// The link in use with `node` is gone; where one side had too many, that says nothing of its life.
        case lost(LinkNumber, NodeID, isParting: Bool)
        /// `node` keeps no more links: for ``Overlay``.
        case full(NodeID)
        /// Nobody listens any more where `node` did: for ``Membership``.
        case refused(NodeID)
        /// Others refuse this host: it was evicted.
        case evicted
        /// All addresses at which this host is reached, for ``MemberFacts``: a new one became known.
        case reachable([NetworkAddress])
        /// Something an operator should know changed with this host: it is foreign, cloned, …
        case noticed(MeshHost)
    }

    var identity: Identity
    var swarms: Set<SwarmID>
    var denied: Set<NodeID> = []
    var isEvicted = false
    let limit: Int
    var neighbours: (chosen: Set<NodeID>, ring: Set<NodeID>)?
    var random: SplitMix64

    /// By a number of their own: hosts are known before their ids are.
    var entries: [Int: Entry] = [:]
    var lastEntry = 0
    /// When each is dialed next; who is not here is not dialed by itself.
    var nextDials: [Int: Duration] = [:]
    var byNode: [NodeID: Int] = [:]
    /// Of those whose id is not known.
    var byAddress: [NetworkAddress: Int] = [:]
    /// Of those that may be a second run of a host that is linked, or of this one.
    var doubles: [InstanceID: Int] = [:]

    var links: [LinkNumber: Link] = [:]
    var dials: [NetworkAddress: Int] = [:]
    /// Of this host, learnt from those that reached it there.
    var reachedAddresses: [NetworkAddress] = []
    /// Where this host itself answered.
    var mirrors: Set<NetworkAddress> = []
    var lastAttempt: UInt64
    var lastToken: UInt64 = 0
    var nextResurrection: Duration?
    var effects: [Effect] = []
    package private(set) var wake: Duration = .zero

    /// - Parameter limit: of links.
    package init(_ identity: Identity, swarms: [SwarmID], limit: Int = Limits.meshHosts, seed: UInt64) {
        self.identity = identity
        self.limit = limit
        self.swarms = Set(swarms)
        random = SplitMix64(seed: seed)
        // Above those of every earlier run.
        lastAttempt = identity.started
    }

    /// Where this host is reached, as far as it knows.
    package var addresses: [NetworkAddress] {
        Array((identity.addresses + reachedAddresses).prefix(Limits.memberAddresses))
    }

    /// Everyone this host knows of, itself left out; the first that became known comes first.
    package var hosts: [MeshHost] { entries.keys.sorted().compactMap { entries[$0]?.host } }
    package func host(_ node: NodeID) -> MeshHost? { byNode[node].flatMap { entries[$0]?.host } }

    /// - Parameter wallClock: milliseconds since 1970.
    package mutating func step(_ event: Event, now: Duration, wallClock: UInt64) -> [Effect] {
        switch event {
        case .sighted(let sighting): sight(sighting, now)
        case .opened(let number, let node, let swarm, let address, let isDialed):
            let link = Link(node: node, swarm: swarm, address: address, isDialed: isDialed, opened: now)
            open(number, link, now, wallClock)
        case .failed(let address, let failure): fail(address, failure, now)
        case .received(let number, let message): receive(number, message, now, wallClock)
        case .closed(let number): closed(number, now, wallClock)
        case .member(let node, let state, let addresses): member(node, state, addresses, now)
        case .swarms(let accepted): accept(Set(accepted), now)
        case .denied(let nodes): deny(nodes, now)
        case .evicted: evicted()
        case .moved(let addresses):
            identity.addresses = addresses
            reachedAddresses.removeAll { addresses.contains($0) }
        case .neighbours(let nodes): settle(nodes, now)
        case .release(let node): release(node, now)
        case .ticked: break
        }
        checkLinks(now, wallClock)
        resurrect(now)
        dialDue(now)
        wake = nextDeadline(after: now)
        defer { effects = [] }
        return effects
    }

    /// How many links are in use.
    var linkCount: Int { links.values.count { $0.stage == .used } }

    private func nextDeadline(after now: Duration) -> Duration {
        var next = nextResurrection ?? now
        for link in links.values {
            if let deadline = link.deadline { next = min(next, deadline) }
        }
        if dials.count < Self.dialsAtOnce {
            for (id, due) in nextDials where due < next {
                if let entry = entries[id], isWanted(entry) { next = due }
            }
        }
        return max(next, now + .milliseconds(1))
    }
}
