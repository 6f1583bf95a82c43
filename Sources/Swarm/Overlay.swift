// How a batch reaches a thousand hosts: Plumtree (Leitão, Pereira, Rodrigues: Epidemic Broadcast Trees, 2007) on a
// random partial view of what Membership knows (swarm.md §5). Up to Limits.meshHosts it rests: everyone is linked with
// everyone and the origin tells all.
//
// Deviations from the page, and why:
//
// - The view is no HyParView. Every host knows all members anyway (SWIM), so each links with a random sample, keeps
//   it, replaces only who is gone, and takes whoever links with it: a random graph with a least degree, which holds
//   together when a third of it dies, without a protocol.
// - An edge is pruned after three duplicates, not after the first: one late message must not cost a link its place.
// - A path that is three hops longer than one that a notice tells of is left for that one (the page's §3.8); without
//   this, authors at all ends of the swarm leave a tree 23 hops deep.
// - A missing message is asked for after 50 ms, from each holder in turn.
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
        /// ``Membership`` holds them alive.
        case joined([NodeID])
        /// … holds it alive no longer.
        case gone(NodeID)
        /// This host begins a broadcast.
        case published(id: Bytes16, payload: [UInt8])
        case received(OverlayMessage, from: NodeID)
        case ticked
    }

    package enum Effect: Hashable, Sendable {
        /// The receiver is linked.
        case send(OverlayMessage, to: NodeID)
        /// Another host's broadcast, once. It was sent `hops` times until here.
        case deliver(id: Bytes16, payload: [UInt8], from: NodeID, hops: Int)
        /// Whom ``Mesh`` should be linked with: nil for everyone.
        case neighbours([NodeID]?)
    }

    static let iHaveDelay = Duration.milliseconds(20)
    static let graftDelay = Duration.milliseconds(50)
    static let duplicatesToPrune = 3
    static let detour = 3
    /// How long a chosen neighbour may take to be linked.
    static let linkPatience = Duration.seconds(10)
    static let cachedBytes = 32 * 1024 * 1024
    static let cachedMessages = 4_096
    static let knownMessages = 16_384
    static let missingMessages = 4_096

    struct Peer: Sendable {
        /// Gets payloads at once; the others get ids.
        var isEager: Bool
        /// Since it became eager.
        var duplicates = 0
        var announced: [OverlayMessage.Notice] = []
    }

    struct Missing: Sendable {
        var holders: [NodeID]
        var deadline: Duration
    }

    private struct Cached: Sendable {
        var payload: [UInt8]
        var hops: Int
        /// Who brought it; nil once a shorter way was asked for, so that each message changes the tree once.
        var source: NodeID?
    }

    private let node: NodeID
    private var random: SplitMix64
    /// Members alive, in the order in which they joined, and where each is in it.
    private var alive: [NodeID] = []
    private var places: [NodeID: Int] = [:]
    /// Whom this host chose, and when; others choose it.
    private var chosen: [NodeID: Duration] = [:]
    private var peers: [NodeID: Peer] = [:]
    private var cache: [Bytes16: Cached] = [:]
    private var cacheOrder: [Bytes16] = []
    private var cacheBytes = 0
    private var known: Set<Bytes16> = []
    private var knownOrder: [Bytes16] = []
    private var missing: [Bytes16: Missing] = [:]
    private var nextAnnouncement: Duration?
    private var effects: [Effect] = []
    /// Broadcasts go through the tree; else the origin sends to everyone itself.
    package private(set) var isActive = false
    /// When the next `ticked` is due, at the latest.
    package private(set) var wake: Duration = .seconds(3600)

    package init(node: NodeID, seed: UInt64) {
        self.node = node
        random = SplitMix64(seed: seed)
    }

    /// Of all hosts, this one included.
    package var size: Int { alive.count + 1 }
    /// 9 in a swarm of a thousand.
    package var eagerPeers: Int { max(3, Int((3 * log10(Double(size))).rounded())) }
    /// Three times as many links as eager ones, half of which the others choose.
    package var ownChoices: Int { (3 * eagerPeers + 1) / 2 }
    package var linkedPeers: [NodeID] { peers.keys.sorted() }
    package func isEager(_ peer: NodeID) -> Bool { peers[peer]?.isEager ?? false }

    package mutating func step(_ event: Event, now: Duration) -> [Effect] {
        switch event {
        case .linked(let peer): link(peer)
        case .unlinked(let peer):
            peers[peer] = nil
            if chosen[peer] != nil {
                chosen[peer] = now
                due(now + Self.linkPatience)
            }
        case .joined(let members):
            for member in members where member != node && places[member] == nil {
                places[member] = alive.count
                alive.append(member)
            }
            choose(now)
        case .gone(let member):
            forget(member)
            chosen[member] = nil
            choose(now)
        case .published(let id, let payload): publish(id, payload, now)
        case .received(let message, let peer): receive(message, from: peer, now)
        case .ticked: tick(now)
        }
        defer { effects = [] }
        return effects
    }

    // MARK: - The view

    private mutating func link(_ peer: NodeID) {
        guard peer != node, peers[peer] == nil else { return }
        peers[peer] = Peer(isEager: peers.values.count { $0.isEager } < eagerPeers)
    }

    private mutating func forget(_ member: NodeID) {
        guard let place = places.removeValue(forKey: member), let last = alive.popLast(), last != member else { return }
        alive[place] = last
        places[last] = place
    }

    private mutating func choose(_ now: Duration) {
        // Not to and fro at the border.
        let isLarge = size > (isActive ? Limits.meshHosts * 7 / 8 : Limits.meshHosts)
        guard isLarge else {
            if isActive { effects.append(.neighbours(nil)) }
            isActive = false
            chosen = [:]
            return
        }
        isActive = true
        guard chosen.count < ownChoices else { return }
        add(ownChoices - chosen.count, now)
        effects.append(.neighbours(chosen.keys.sorted()))
    }

    /// Random members that are not chosen yet. Those that are linked anyway are as good as others.
    private mutating func add(_ count: Int, _ now: Duration) {
        var missing = min(count, alive.count - chosen.count)
        while missing > 0 {
            let candidate = alive[Int.random(in: alive.indices, using: &random)]
            guard chosen[candidate] == nil else { continue }
            chosen[candidate] = now
            missing -= 1
            if peers[candidate] == nil { due(now + Self.linkPatience) }
        }
    }

    private mutating func tick(_ now: Duration) {
        if let due = nextAnnouncement, due <= now { announce() }
        for id in missing.filter({ $0.value.deadline <= now }).keys.sorted() { graft(id, now) }
        replaceUnreachable(now)
        wake = now + .seconds(3600)
        if let next = nextAnnouncement { due(next) }
        for entry in missing.values { due(entry.deadline) }
        for (node, since) in chosen where peers[node] == nil { due(since + Self.linkPatience) }
    }

    /// `wake` is never later than what is due; it may be earlier.
    private mutating func due(_ time: Duration) { wake = min(wake, time) }

    private mutating func replaceUnreachable(_ now: Duration) {
        let unreachable = chosen.filter { peers[$0.key] == nil && $0.value + Self.linkPatience <= now }
        guard !unreachable.isEmpty else { return }
        // Others first: whoever could not be reached is not chosen again at once, where there are others.
        let spare = alive.count - chosen.count
        add(min(unreachable.count, spare), now)
        for node in unreachable.keys { chosen[node] = nil }
        if spare < unreachable.count { add(unreachable.count - max(spare, 0), now) }
        effects.append(.neighbours(chosen.keys.sorted()))
    }

    // MARK: - The tree

    private mutating func publish(_ id: Bytes16, _ payload: [UInt8], _ now: Duration) {
        guard remember(id) else { return }
        keep(id, Cached(payload: payload, hops: 0, source: nil))
        spread(id, payload, hops: 0, except: nil, now)
    }

    private mutating func receive(_ message: OverlayMessage, from peer: NodeID, _ now: Duration) {
        guard peers[peer] != nil else { return }
        switch message {
        case .gossip(let id, let hops, let payload):
            guard remember(id) else { return duplicate(from: peer) }
            missing[id] = nil
            let hops = min(hops, Int(UInt16.max) - 1) + 1
            keep(id, Cached(payload: payload, hops: hops, source: peer))
            if peers[peer]?.isEager == false { favour(peer) }
            effects.append(.deliver(id: id, payload: payload, from: peer, hops: hops))
            spread(id, payload, hops: hops, except: peer, now)
        case .iHave(let notices):
            for notice in notices {
                if known.contains(notice.id) { shorten(notice, by: peer) } else { miss(notice.id, holder: peer, now) }
            }
        case .graft(let ids):
            favour(peer)
            for id in ids {
                guard let cached = cache[id] else { continue }
                effects.append(.send(.gossip(id: id, hops: cached.hops, payload: cached.payload), to: peer))
            }
        case .prune: peers[peer]?.isEager = false
        }
    }

    private mutating func spread(
        _ id: Bytes16, _ payload: [UInt8], hops: Int, except source: NodeID?, _ now: Duration
    ) {
        for peer in peers.keys.sorted() where peer != source {
            if peers[peer]?.isEager == true {
                effects.append(.send(.gossip(id: id, hops: hops, payload: payload), to: peer))
            } else {
                peers[peer]?.announced.append(OverlayMessage.Notice(id: id, hops: hops))
                if nextAnnouncement == nil {
                    nextAnnouncement = now + Self.iHaveDelay
                    due(now + Self.iHaveDelay)
                }
                if peers[peer]?.announced.count == Limits.overlayIdentifiers { announce() }
            }
        }
    }

    private mutating func duplicate(from peer: NodeID) {
        // It may send payloads to one that sends it none: each side has its own choice of eager peers.
        guard let former = peers[peer] else { return }
        peers[peer]?.duplicates = former.duplicates + 1
        guard former.duplicates + 1 >= Self.duplicatesToPrune else { return }
        peers[peer]?.isEager = false
        peers[peer]?.duplicates = 0
        effects.append(.send(.prune, to: peer))
    }

    /// `peer` had it much earlier than whoever brought it: it becomes the parent instead.
    private mutating func shorten(_ notice: OverlayMessage.Notice, by peer: NodeID) {
        guard let cached = cache[notice.id], let source = cached.source, source != peer, peers[source] != nil,
            notice.hops + 1 + Self.detour <= cached.hops
        else { return }
        cache[notice.id]?.source = nil
        favour(peer)
        peers[source]?.isEager = false
        effects.append(.send(.graft([]), to: peer))
        effects.append(.send(.prune, to: source))
    }

    private mutating func favour(_ peer: NodeID) {
        peers[peer]?.isEager = true
        peers[peer]?.duplicates = 0
    }

    private mutating func announce() {
        nextAnnouncement = nil
        for peer in peers.keys.sorted() {
            guard let notices = peers[peer]?.announced, !notices.isEmpty else { continue }
            peers[peer]?.announced = []
            effects.append(.send(.iHave(notices), to: peer))
        }
    }

    private mutating func miss(_ id: Bytes16, holder: NodeID, _ now: Duration) {
        if let entry = missing[id] {
            if entry.holders.count < Limits.meshHosts, !entry.holders.contains(holder) {
                missing[id]?.holders.append(holder)
            }
        } else if missing.count < Self.missingMessages {
            missing[id] = Missing(holders: [holder], deadline: now + Self.graftDelay)
            due(now + Self.graftDelay)
        }
    }

    /// Nobody brought it in time: asked of the first who said to have it, then of the next.
    private mutating func graft(_ id: Bytes16, _ now: Duration) {
        guard var entry = missing[id] else { return }
        while let holder = entry.holders.first {
            entry.holders.removeFirst()
            guard peers[holder] != nil else { continue }
            favour(holder)
            effects.append(.send(.graft([id]), to: holder))
            entry.deadline = now + Self.graftDelay
            missing[id] = entry
            return
        }
        missing[id] = nil
    }

    // MARK: - Memory

    /// - Returns: false for one that is known.
    private mutating func remember(_ id: Bytes16) -> Bool {
        guard known.insert(id).inserted else { return false }
        knownOrder.append(id)
        if knownOrder.count >= 2 * Self.knownMessages {
            for old in knownOrder.prefix(Self.knownMessages) { known.remove(old) }
            knownOrder.removeFirst(Self.knownMessages)
        }
        return true
    }

    private mutating func keep(_ id: Bytes16, _ message: Cached) {
        cache[id] = message
        cacheOrder.append(id)
        cacheBytes += message.payload.count
        while cacheBytes > Self.cachedBytes || cacheOrder.count > Self.cachedMessages {
            // The oldest half at once: removing the first of an array one by one would cost its length each time.
            let old = cacheOrder.prefix(max(1, cacheOrder.count / 2))
            for id in old { cacheBytes -= cache.removeValue(forKey: id)?.payload.count ?? 0 }
            cacheOrder.removeFirst(old.count)
        }
    }
}
