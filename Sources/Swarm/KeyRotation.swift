// The change of a swarm's key, without I/O (swarm.md §11): install, use, retire.
//
// Every host keeps the same small state and tells it to those it is linked with: the newest key by number and tag, how
// far it has come, who has confirmed which step, who is denied. All of it only grows, so that hosts which have heard
// the same agree, in whatever order they heard it; nobody is in charge, and the host that began a rotation may go.
//
//   install  the key is handed over authenticated links to everyone who lacks it; each host confirms once it is on
//            disk. Nobody shows the new key yet, everybody takes it.
//   use      a host whose linked peers have all confirmed shows the new key and says so; the old one is taken still,
//            so a host that was away comes back with it and is handed the new one.
//   retired  everyone seen within the retention has confirmed `use`, or a day has passed, or an operator forces it:
//            the old key is refused.
//
// Two rotations begun at once: the higher number wins, then the lower tag; the other is dropped where it stands. That
// is safe because no step before `retired` gives up the key that both began from.
//
// An eviction is a denial, which only grows and outlives everything, and a rotation whose key is handed to nobody but
// those who were known before it: the evicted host still has the old key, and could come again under another name.

package import Core
package import Cryptography

/// A pure machine. The shell performs effects in their order, and answers each ``Effect/persist(_:revision:)`` with
/// ``Event/persisted(_:)`` once it is on disk.
package struct KeyRotation: Sendable {
    package enum Event: Sendable {
        /// First of all: what the ring says is put to use.
        case started
        case linked(NodeID)
        case unlinked(NodeID)
        /// A message of ``LinkChannel/trust``, that byte included.
        case received([UInt8], from: NodeID)
        /// Begins a rotation to this fresh random key, or goes on with the one under way.
        case begin(SymmetricKey)
        /// Denies a host, and begins a rotation without it where a fresh key is given.
        case evict(NodeID, SymmetricKey?)
        /// Takes the next step without those who have not confirmed.
        case force
        /// About every 200 ms.
        case ticked
        case persisted(UInt64)
    }

    package enum Effect: Sendable {
        /// The ``LinkChannel`` byte included.
        case send([UInt8], to: NodeID)
        /// Replace what is kept for the next start; secret.
        case persist([UInt8], revision: UInt64)
        /// Show `primary` and take `accepted` as well.
        case useKeys(primary: SwarmKeys, accepted: [SwarmKeys])
        /// All who are refused, ascending.
        case deny([NodeID])
        /// Nil while no rotation was ever heard of.
        case changed(RotationReport?)
        /// The others have denied this host.
        case evicted
    }

    /// Changes of the links are waited out for so long before the new key is shown.
    static let settling = Duration.seconds(1)
    static let retirement: UInt64 = 24 * 3_600_000
    /// A write that was not confirmed is tried again.
    static let persistPatience = Duration.seconds(5)

    private let node: NodeID
    /// Milliseconds for which a host that was seen counts as a member.
    private let retention: UInt64
    private var ring: SwarmRing
    private var links: Set<NodeID> = []
    private var linksChanged = Duration.zero
    /// What the neighbours have not been told yet.
    private var isNews = false

    private var revision: UInt64 = 0
    private var durable: UInt64 = 0
    private var persistedAt = Duration.zero
    private var isUnsaved = false
    private var lastReport: RotationReport?
    /// The tags in force, the shown one first, and who is denied: told once.
    private var told: (tags: [[UInt8]], denied: Set<NodeID>) = ([], [])
    private var isEvictionTold = false
    /// Both clocks at the last step.
    private var clocks: (now: Duration, wall: UInt64)?

    /// - Parameters:
    ///   - root: the key of the configuration or the key file.
    ///   - saved: what was persisted last under that key.
    ///
    /// Throws ``RuntimeError`` `.corrupt` for a ring that is none.
    package init(
        node: NodeID, root: SwarmKeys, saved: [UInt8]?, retention: Duration = .seconds(7 * 86_400)
    ) throws(RuntimeError) {
        self.node = node
        self.retention = UInt64(clamping: retention.components.seconds) &* 1_000
        ring = try saved.map { bytes throws(RuntimeError) in try SwarmRing(bytes) } ?? SwarmRing(root: root)
    }

    /// What two instances of one user, which share the file, have kept between them: of both the newest key, and all
    /// that either has heard. Throws ``RuntimeError`` `.corrupt` for a ring that is none.
    package static func merge(_ kept: [UInt8], _ ring: [UInt8]) throws(RuntimeError) -> [UInt8] {
        try SwarmRing(kept).merged(with: SwarmRing(ring)).encoded
    }

    /// What this host shows at present.
    package var primary: SwarmKeys { ring.primary.keys }
    package var denied: Set<NodeID> { ring.denied }
    /// All that are not retired.
    package var keys: [SwarmKeys] { ring.entries.map(\.keys) }

    /// Whether an eviction that is begun here hands the new key to this host: it was heard of, be it from others.
    package func knows(_ peer: NodeID) -> Bool { peer == node || links.contains(peer) || ring.seen[peer] != nil }

    /// Where the latest rotation stands; nil while there was none.
    package func report(wall: UInt64) -> RotationReport? {
        let top = ring.top
        guard top.number > 0, let from = Bytes16(top.from), let to = Bytes16(top.keys.tag) else { return nil }
        let confirmed = top.phase == .install ? top.installed : top.using
        let waiting = ring.isSettled ? [] : members(wall: wall).subtracting(confirmed)
        return RotationReport(
            phase: ring.isSettled ? .retired : top.phase == .install ? .install : .use, from: SwarmID(from),
            to: SwarmID(to), confirmed: confirmed.subtracting(ring.denied).sorted(), waiting: waiting.sorted())
    }

    /// - Parameter wall: milliseconds since 1970.
    package mutating func step(_ event: Event, now: Duration, wall: UInt64) -> [Effect] {
        noticeJump(now, wall)
        var effects: [Effect] = []
        switch event {
        case .started:
            linksChanged = now
            effects += inForce(isFirst: true)
            // A step that was on disk before the last stop is confirmed again.
            confirm()
            effects += toldOfEviction()
        case .linked(let peer):
            guard !ring.denied.contains(peer) else { break }
            links.insert(peer)
            linksChanged = now
            see(peer, at: wall)
            effects.append(.send(summary(), to: peer))
        case .unlinked(let peer):
            links.remove(peer)
            linksChanged = now
        case .received(let bytes, let peer):
            guard links.contains(peer), !ring.denied.contains(peer) else { break }
            see(peer, at: wall)
            // What cannot be read is of a newer version, or rubbish: neither changes anything here.
            guard let message = try? TrustMessage(bytes) else { break }
            effects += take(message, from: peer, now: now, wall: wall)
        case .begin(let key):
            guard ring.isSettled else {
                isNews = true
                break
            }
            effects += install(key, recipients: nil, now: now, wall: wall)
        case .evict(let peer, let key):
            guard peer != node else { break }
            let isLinked = links.contains(peer)
            deny([peer])
            isNews = true
            // So that its operator learns why nobody answers any more.
            if isLinked { effects.append(.send(summary(), to: peer)) }
            let known = members(wall: wall).union(links).union([node]).subtracting(ring.denied)
            if let key {
                effects += install(key, recipients: known, now: now, wall: wall)
            } else {
                effects.append(persist(now))
            }
        case .force:
            guard !ring.isSettled else { break }
            advance(wall: wall)
            effects.append(persist(now))
        case .ticked:
            effects += tick(now: now, wall: wall)
        case .persisted(let number):
            guard number > durable, number <= revision else { break }
            durable = number
            confirm()
            effects += inForce()
        }
        let report = report(wall: wall)
        if report != lastReport {
            lastReport = report
            effects.append(.changed(report))
        }
        return effects
    }

    // MARK: - Steps

    /// A wall clock that is set is no reason to retire a key before those who are away have had their days.
    private mutating func noticeJump(_ now: Duration, _ wall: UInt64) {
        defer { clocks = (now, wall) }
        guard let clocks else { return }
        let expected = clocks.wall.addingReportingOverflow(
            UInt64(clamping: Int64((now - clocks.now) / .milliseconds(1))))
        guard !expected.overflow else { return }
        ring.follow(from: expected.partialValue, to: wall)
    }

    private mutating func tick(now: Duration, wall: UInt64) -> [Effect] {
        var effects: [Effect] = []
        if revision == durable, isReady(now: now, wall: wall) {
            advance(wall: wall)
            effects.append(persist(now))
        } else if isUnsaved || (revision > durable && now - persistedAt >= Self.persistPatience) {
            effects.append(persist(now))
        }
        if isNews {
            isNews = false
            let news = summary()
            for peer in links.sorted() { effects.append(.send(news, to: peer)) }
        }
        return effects
    }

    /// Whether everyone who must confirm the present step has done so.
    private func isReady(now: Duration, wall: UInt64) -> Bool {
        guard !ring.isSettled else { return false }
        let top = ring.top
        switch top.phase {
        case .install:
            return top.installed.contains(node) && now - linksChanged >= Self.settling
                && links.filter(top.mayHave).isSubset(of: top.installed)
        case .use:
            let isOld = wall >= top.usedSince.addingReportingOverflow(Self.retirement).partialValue
            return top.using.contains(node) && (isOld || members(wall: wall).isSubset(of: top.using))
        }
    }

    /// From install to use, from use to retired.
    private mutating func advance(wall: UInt64) {
        switch ring.top.phase {
        case .install:
            ring.top.phase = .use
            ring.top.usedSince = wall
        case .use: ring.settle()
        }
        isNews = true
    }

    /// What is on disk by now is this host's word.
    private mutating func confirm() {
        guard revision == durable, ring.top.number > 0 else { return }
        var top = ring.top
        top.installed.insert(node)
        if top.phase == .use { top.using.insert(node) }
        guard top.installed != ring.top.installed || top.using != ring.top.using else { return }
        ring.top = top
        isNews = true
        isUnsaved = true
    }

    private mutating func install(
        _ key: SymmetricKey, recipients: Set<NodeID>?, now: Duration, wall: UInt64
    ) -> [Effect] {
        let (number, overflow) = ring.top.number.addingReportingOverflow(1)
        // A key of another length is our own mistake: then nothing begins.
        guard !overflow, let keys = try? SwarmKeys(key) else { return [] }
        ring.add(
            SwarmRing.Entry(
                number: number, keys: keys, from: ring.primary.keys.tag, initiator: node, began: wall,
                recipients: recipients))
        isNews = true
        return [persist(now)] + handOver(to: links)
    }

    private mutating func take(
        _ message: TrustMessage, from peer: NodeID, now: Duration, wall: UInt64
    ) -> [Effect] {
        var effects: [Effect] = []
        let before = ring
        switch message {
        case .summary(let theirs):
            deny(theirs.denied)
            for (node, at) in theirs.seen { see(node, at: min(at, wall)) }
            if theirs.tag == ring.top.keys.tag {
                effects += merge(theirs, from: peer, wall: wall)
            } else if ring.top.beats(theirs.number, theirs.tag) {
                effects += handOver(to: [peer])
            }
        case .key(let entry, let phase):
            guard !ring.entries.contains(where: { $0.keys.tag == entry.keys.tag }), entry.mayHave(node),
                !ring.top.beats(entry.number, entry.keys.tag)
            else { break }
            let dropped = ring.dropped(by: entry)
            ring.add(entry)
            if phase == .use {
                ring.top.phase = .use
                ring.top.usedSince = wall
            }
            // The others are handed it by whoever reaches them first.
            effects += handOver(to: links.subtracting([peer]))
            effects += shutOut(with: dropped, wall: wall)
        }
        if ring.isWorthKeeping(since: before) {
            isNews = true
            effects.append(persist(now))
        }
        return effects + toldOfEviction()
    }

    private mutating func toldOfEviction() -> [Effect] {
        guard ring.denied.contains(node), !isEvictionTold else { return [] }
        isEvictionTold = true
        return [.evicted]
    }

    /// A rotation that was begun elsewhere at the same time has won over an eviction's, and whoever is denied may hold
    /// its key: the eviction's own, which it never had, follows. All who know that do the same with the same key.
    private mutating func shutOut(with dropped: [SwarmRing.Entry], wall: UInt64) -> [Effect] {
        let (number, overflow) = ring.top.number.addingReportingOverflow(1)
        guard let lost = dropped.last(where: { $0.recipients != nil }), !overflow,
            ring.denied.contains(where: ring.top.mayHave)
        else { return [] }
        let known = Set(ring.seen.keys).union(links).union(lost.recipients ?? []).union([node])
        ring.add(
            SwarmRing.Entry(
                number: number, keys: lost.keys, from: ring.primary.keys.tag, initiator: lost.initiator,
                began: lost.began, recipients: known.subtracting(ring.denied)))
        return handOver(to: links)
    }

    /// A peer's view of the key that is the newest here too.
    private mutating func merge(_ theirs: TrustMessage.Summary, from peer: NodeID, wall: UInt64) -> [Effect] {
        if theirs.number > ring.top.number {
            // This host was given the key by hand (`swarm join`) and counts from there.
            ring.top.number = theirs.number
        }
        // A host that was given the key by hand has no word on how far the others are.
        guard theirs.number == ring.top.number else { return [] }
        var top = ring.top
        top.installed.formUnion(theirs.installed)
        top.using.formUnion(theirs.using)
        if top.installed != ring.top.installed || top.using != ring.top.using {
            ring.top = top
            isNews = true
            isUnsaved = true
        }
        guard !ring.isSettled else { return [] }
        if theirs.phase >= .use, ring.top.phase == .install {
            ring.top.phase = .use
            ring.top.usedSince = wall
        }
        if theirs.phase == .retired { ring.settle() }
        return []
    }

    // MARK: - Parts

    private func handOver(to peers: Set<NodeID>) -> [Effect] {
        let top = ring.top
        guard !ring.isSettled else { return [] }
        let message = TrustMessage.key(top, phase: top.phase).encoded
        return peers.subtracting(ring.denied).filter(top.mayHave).sorted().map { .send(message, to: $0) }
    }

    private func summary() -> [UInt8] {
        let top = ring.top
        return TrustMessage.summary(
            TrustMessage.Summary(
                number: top.number, tag: top.keys.tag,
                phase: ring.isSettled ? .retired : top.phase == .install ? .install : .use, installed: top.installed,
                using: top.using, denied: ring.denied, seen: ring.seen.sorted { $0.key < $1.key }.map { ($0, $1) })
        ).encoded
    }

    private mutating func deny(_ nodes: Set<NodeID>) {
        ring.denied.formUnion(nodes.prefix(max(0, Limits.knownHosts - ring.denied.count)))
        links.subtract(ring.denied)
        for node in nodes { ring.seen[node] = nil }
    }

    private mutating func see(_ peer: NodeID, at wall: UInt64) {
        guard peer != node, !ring.denied.contains(peer) else { return }
        let last = ring.seen[peer]
        guard last != nil || ring.seen.count < Limits.knownHosts, wall > last ?? 0 else { return }
        ring.seen[peer] = wall
        // Worth a write only once it has changed much: a member is one for days.
        if wall - (last ?? 0) > 3_600_000 { isUnsaved = true }
    }

    /// Everyone whose confirmation counts: this host and those seen lately, as far as they may have the key.
    private func members(wall: UInt64) -> Set<NodeID> {
        let since = wall > retention ? wall - retention : 0
        let seen = ring.seen.filter { $0.value >= since }.keys
        return Set(seen).union([node]).subtracting(ring.denied).filter(ring.top.mayHave)
    }

    private mutating func persist(_ now: Duration) -> Effect {
        revision += 1
        persistedAt = now
        isUnsaved = false
        return .persist(ring.encoded, revision: revision)
    }

    /// What the shell does not know yet.
    private mutating func inForce(isFirst: Bool = false) -> [Effect] {
        var effects: [Effect] = []
        let accepted = ring.accepted
        let tags = ([ring.primary] + accepted).map(\.keys.tag)
        if isFirst || tags != told.tags {
            effects.append(.useKeys(primary: ring.primary.keys, accepted: accepted.map(\.keys)))
        }
        if isFirst || ring.denied != told.denied { effects.append(.deny(ring.denied.sorted())) }
        told = (tags, ring.denied)
        return effects
    }
}
