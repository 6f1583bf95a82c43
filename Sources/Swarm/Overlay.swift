// How a batch reaches a thousand hosts: Plumtree (Leitão, Pereira, Rodrigues: Epidemic Broadcast Trees, 2007) on a
// ring with random chords over what Membership knows (swarm.md §5). Up to `limit` hosts it rests: everyone is linked
// with everyone and the origin tells all. Above, nobody keeps more than `limit` links.
//
// Deviations from the page, and why:
//
// - The view is no HyParView. Every host knows all members anyway (SWIM), so each links with the next living host in
//   the order of the ids, which makes one ring of all, and with a random sample beside it: a cycle with random chords
//   is an expander (Bollobás, Chung 1988), and whoever dies, the ring closes behind it. Random links alone need not
//   hold together where few are allowed: of eight hosts with three links each, two fours would never meet.
// - An edge is pruned after three duplicates, not after the first: one late message must not cost a link its place.
// - A path that is three hops longer than one that a notice tells of is left for that one (the page's §3.8); without
//   this, authors at all ends of the swarm leave a tree 23 hops deep.
// - A missing message is asked for after 50 ms, from each holder in turn.
// - A message's id is the hash of its content: nobody can take a place in others' memories for what it did not say.
//
// Bounds: up to 32 MiB and 4,096 messages are kept for grafts, 16,384 ids and more to know duplicates, 4,096 ids
// are missed at once. What falls out is found by replication's digests.

package import Core
internal import Glibc

package struct Overlay: Sendable {
    package enum Event: Hashable, Sendable {
        /// ``Mesh`` adopted a link with it; lost it.
        case linked(NodeID)
        case unlinked(NodeID)
        /// It has as many links as it keeps.
        case full(NodeID)
        /// Nobody listens any more where it was.
        case refused(NodeID)
        /// ``Membership`` holds them alive.
        case joined([NodeID])
        /// … holds it alive no longer.
        case gone(NodeID)
        /// This host begins a broadcast.
        case published([UInt8])
        case received(OverlayMessage, from: NodeID)
        case ticked
    }

    package enum Effect: Hashable, Sendable {
        /// The receiver is linked.
        case send(OverlayMessage, to: NodeID)
        /// Another host's broadcast, once. It was sent `hops` times until here.
        case deliver(payload: [UInt8], from: NodeID, hops: Int)
        /// Whom ``Mesh`` should be linked with: nil for everyone.
        case neighbours(Neighbours?)
        /// One link too many: ``Mesh`` should end it.
        case release(NodeID)
    }

    /// A host's place in a swarm in which not everyone is linked with everyone; all ascending.
    package struct Neighbours: Hashable, Sendable {
        /// To be linked with, whoever dials.
        package var chosen: [NodeID]
        /// Those before and after this host in the order of the ids: let in where others find no room any more.
        package var ring: [NodeID]

        package init(chosen: [NodeID], ring: [NodeID]) {
            self.chosen = chosen
            self.ring = ring
        }
    }

    static let iHaveDelay = Duration.milliseconds(20)
    static let graftDelay = Duration.milliseconds(50)
    static let duplicatesToPrune = 3
    static let detour = 3
    static let missingMessages = 4_096
    /// How long a chosen neighbour may take to be linked.
    static let linkPatience = Duration.seconds(10)
    /// The same while this host has no link at all: until it has one it hears nothing, of its neighbours' deaths neither.
    static let lonelyPatience = Duration.seconds(1)
    /// How long one that could not be linked is not chosen again, where there are others.
    static let avoidance = Duration.seconds(30)
    /// A link too many is kept so long: whom the others know may still change.
    static let trimDelay = Duration.seconds(1)

    struct Peer: Sendable {
        /// Gets payloads at once; the others get ids.
        var isEager: Bool
        var since: Duration
        /// Since it became eager.
        var duplicates = 0
        var announced: [OverlayMessage.Notice] = []
    }

    struct Missing: Sendable {
        var holders: [NodeID]
        var deadline: Duration
    }

    let node: NodeID
    /// Up to so many hosts each is linked with each; of more, none keeps more links.
    package let limit: Int
    var random: SplitMix64
    /// Members alive, ascending.
    var alive: [NodeID] = []
    /// Whom this host chose, and since when it waits for a link where there is none; others choose it.
    var chosen: [NodeID: Duration] = [:]
    /// Who could not be linked, and until when others are tried instead.
    var avoided: [NodeID: Duration] = [:]
    /// This host's place as ``Mesh`` was told it; nil while it rests.
    package internal(set) var neighbours: Neighbours?
    var trimDue: Duration?
    /// When more is chosen, after one was full.
    var choiceDue: Duration?
    var peers: [NodeID: Peer] = [:]
    var memory = OverlayMemory()
    var missing: [Bytes16: Missing] = [:]
    var nextAnnouncement: Duration?
    var effects: [Effect] = []
    /// Broadcasts go through the tree; else the origin sends to everyone itself.
    package internal(set) var isActive = false
    /// When the next `ticked` is due, at the latest.
    package private(set) var wake: Duration = .seconds(3600)

    package init(node: NodeID, limit: Int = Limits.meshHosts, seed: UInt64) {
        self.node = node
        self.limit = max(2, limit)
        random = SplitMix64(seed: seed)
    }

    /// Of all hosts, this one included.
    package var size: Int { alive.count + 1 }
    /// 9 in a swarm of a thousand.
    package var eagerPeers: Int { max(3, Int((3 * log10(Double(size))).rounded())) }
    /// Three times as many links as eager ones, half of which the others choose; at least the next in the ring and
    /// one chord.
    package var ownChoices: Int { max(2, min((3 * eagerPeers + 1) / 2, limit / 2)) }
    package var linkedPeers: [NodeID] { peers.keys.sorted() }
    package func isEager(_ peer: NodeID) -> Bool { peers[peer]?.isEager ?? false }

    package mutating func step(_ event: Event, now: Duration) -> [Effect] {
        switch event {
        case .linked(let peer): link(peer, now)
        case .unlinked(let peer): unlink(peer, now)
        case .full(let peer): full(peer, now)
        case .refused(let peer): refused(peer, now)
        case .joined(let members): join(members, now)
        case .gone(let member): forget(member, now)
        case .published(let payload): publish(payload, now)
        case .received(let message, let peer): receive(message, from: peer, now)
        case .ticked: tick(now)
        }
        defer { effects = [] }
        return effects
    }

    private mutating func tick(_ now: Duration) {
        if let due = nextAnnouncement, due <= now { announce() }
        for id in missing.filter({ $0.value.deadline <= now }).keys.sorted() { graft(id, now) }
        tend(now)
        wake = now + .seconds(3600)
        for time in [nextAnnouncement, trimDue, choiceDue] { if let time { due(time) } }
        for entry in missing.values { due(entry.deadline) }
        guard isActive else { return }
        for (node, since) in chosen where peers[node] == nil { due(since + patience) }
        if chosen.count < wantedChoices, let end = avoided.values.min() { due(max(end, now + .milliseconds(1))) }
    }

    /// `wake` is never later than what is due; it may be earlier.
    mutating func due(_ time: Duration) { wake = min(wake, time) }
}
