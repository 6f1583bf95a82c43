// Who is there: SWIM (Das, Gupta, Motivala 2002) with Lifeguard (Dadgar, Phillips, Currey 2018) over the links of the
// mesh, as swarm.md §6 has it. Deviations, and why:
//
// - Messages go over links that are there anyway: reliable, in order, authenticated. A claim is told to one peer at
//   most once, and only news is sent: an idle swarm says nothing here. `heard` (replication's keepalive once a second)
//   counts as an answered probe, so only who was silent for longer than a keepalive may take is probed, and that at
//   once instead of by turns: cheaper when all is well, faster when it is not. Round-robin probing is left for members
//   that this host has no link with, through others.
// - `alive` and `left` are signed by the member they speak of. `suspect` and `dead` are not; they count only for an
//   incarnation whose signed claim is held, so nobody can bury a future one.
// - An indirect probe has failed as soon as all relays said so.
// - Who hears a member itself does not believe that it is dead; it passes the claim on to the member, who refutes.
// - Above `tuning.meshHosts` members not everyone is linked with everyone. A probe of a member without a link goes
//   through those who say that they are its neighbours; a member to whom no path of links leads, as all tell theirs, is
//   suspected: all who watched it may be gone with it.
// - Machine time stands still while ticks are late (`lost`): a host that was stopped, or starved, accuses nobody.
//
// Bounds: Limits.knownHosts members, Limits.claimsPerMessage; claims wait at most once per member and accuser.

package import Core

package struct Membership: Sendable {
    package enum Event: Hashable, Sendable {
        /// ``Mesh`` adopted a link with it.
        case linked(NodeID)
        case unlinked(NodeID)
        /// The link with it ended because one side had too many: says nothing of its life.
        case parted(NodeID)
        /// Nobody listens any more where it did.
        case refused(NodeID)
        /// Anything came from it over its link: counts as an answered probe.
        case heard(NodeID)
        /// `heard` need not be said beside this.
        case received(MembershipMessage, from: NodeID)
        /// A message to it could not be sent.
        case sendFailed(NodeID)
        /// This host's own event loop was late by so much.
        case lagged(Duration)
        case changed(MemberFacts)
        /// Out of the swarm for good.
        case evicted(NodeID)
        /// This host stops: says so to everyone. Nothing happens after it.
        case leaving
        case ticked
    }

    package enum Effect: Hashable, Sendable {
        /// The receiver is linked.
        case send(MembershipMessage, to: NodeID)
        /// New, or another state, or other facts.
        case changed(Member)
        /// Evicted, or dead for so long that there was no room.
        case forgot(NodeID)
        /// Two living instances carry this identity (perhaps this host's own).
        case cloned(NodeID, InstanceID)
    }

    let tuning: Tuning
    let seals: SealScheme
    var random: SplitMix64
    /// This host's own word as it stands.
    package internal(set) var own: SignedClaim
    var records: [NodeID: Record] = [:]
    var suspects: Set<NodeID> = []
    /// Alive or suspect, this host included.
    package internal(set) var size = 1
    var linked: Set<NodeID> = []
    var denied: Set<NodeID> = []
    /// Other runs whose claims for this host's identity were outdone, and how often.
    var rivals: [InstanceID: Rivalry] = [:]
    /// Lifeguard's local health: 0 is good, 8 the worst.
    package internal(set) var health = 0
    var isTroubled = false

    var probes: [NodeID: Probe] = [:]
    var errands: [Errand] = []
    var lastToken: UInt64 = 0
    /// Members in the order in which they are probed.
    var ring: [NodeID] = []

    var news: [NodeID: [News]] = [:]
    var nextGossip: Duration = .zero
    var nextPeriod: Duration = .zero
    var nextSync: Duration = .zero
    var nextResurrection: Duration = .zero
    /// When this host may tell of other neighbours than it did.
    var nextNeighbours: Duration = .zero

    /// Time during which this host did not run, which is not counted.
    var lost: Duration = .zero
    /// In machine time; nil before the first step.
    private var due: Duration?
    private var isLeaving = false
    var effects: [Effect] = []

    /// - Parameter wallClock: milliseconds since 1970 at the start: the first incarnation.
    package init(
        node: NodeID, instance: InstanceID, facts: MemberFacts, seals: SealScheme, wallClock: UInt64,
        seed: UInt64, tuning: Tuning = Tuning()
    ) {
        self.tuning = tuning
        self.seals = seals
        random = SplitMix64(seed: seed)
        own = SignedClaim(
            node: node, instance: instance, incarnation: min(wallClock, SignedClaim.lastIncarnation),
            isLeaving: false, facts: facts, author: seals.author, signature: [])
        sign()
    }

    /// When the next `ticked` is due; one that comes more than 100 ms late tells that this host did not run. Before
    /// the first step: at once.
    package var wake: Duration { isLeaving ? .seconds(Int64.max / 1_000_000) : (due ?? .zero) + lost }
    /// Everyone known, this host left out, by id.
    package var members: [Member] {
        records.keys.sorted().compactMap { node in records[node].map { member($0) } }
    }
    package func member(_ node: NodeID) -> Member? { records[node].map { member($0) } }

    package mutating func step(_ event: Event, now: Duration) -> [Effect] {
        guard !isLeaving else { return [] }
        let time = live(now)
        switch event {
        case .heard(let node):
            // The most frequent by far. What is due was due before and stays so.
            hear(node, time)
            if effects.isEmpty { return [] }
        case .linked(let node): link(node, time)
        case .unlinked(let node): unlink(node, time)
        case .parted(let node): part(node)
        case .refused(let node): refuse(node, time)
        case .received(let message, let peer): receive(message, from: peer, time)
        case .sendFailed: worsen(by: 1)
        case .lagged(let duration): if duration > tuning.tolerance { worsen(by: 1) }
        case .changed(let facts):
            var facts = facts
            facts.neighbours = own.facts.neighbours
            if facts != own.facts {
                own.facts = facts
                renew()
            }
        case .evicted(let node): evict(node)
        case .leaving: leave()
        case .ticked: tick(time)
        }
        if !isLeaving { gossip(time) }
        due = nextDeadline(after: time)
        defer { effects = [] }
        return lastChanges()
    }

    // MARK: - Time

    /// Machine time. Where this step comes much later than one was due, the host was not running, and nothing may be
    /// concluded from the silence meanwhile.
    private mutating func live(_ now: Duration) -> Duration {
        guard let due else {
            nextPeriod = now + jittered(tuning.period)
            nextSync = now + jittered(tuning.syncInterval)
            nextResurrection = now + jittered(tuning.resurrectionInterval)
            self.due = now
            return now
        }
        let lateness = now - lost - due
        if tuning.isLifeguard, lateness > tuning.tolerance {
            lost += lateness
            worsen(by: 1)
        }
        return now - lost
    }

    private mutating func tick(_ time: Duration) {
        if time >= nextPeriod { beginPeriod(time) }
        checkProbes(time)
        checkSuspicions(time)
        probeSilent(time)
        if time >= nextSync { sync(time) }
        if time >= nextResurrection { resurrect(time) }
    }

    private func nextDeadline(after time: Duration) -> Duration {
        var next = min(nextPeriod, nextSync, nextResurrection)
        if !news.isEmpty, !linked.isEmpty { next = min(next, nextGossip) }
        for probe in probes.values { next = min(next, probe.deadline) }
        for errand in errands { next = min(next, errand.deadline) }
        let silence = silence
        for node in linked where probes[node] == nil {
            guard let record = records[node], record.state == .alive else { continue }
            next = min(next, record.sign + silence)
        }
        for node in suspects {
            if let suspicion = records[node]?.suspicion { next = min(next, deadline(of: suspicion)) }
        }
        return max(next, time + .milliseconds(1))
    }

    /// Within 20 % of `duration`, so that hosts that started together do not act together.
    mutating func jittered(_ duration: Duration) -> Duration {
        duration * Double.random(in: 0.8...1.2, using: &random)
    }

    // MARK: - Health

    var multiplier: Int { tuning.isLifeguard ? health + 1 : 1 }

    mutating func worsen(by amount: Int) {
        guard amount > 0 else { return }
        isTroubled = true
        health = min(health + amount, tuning.worstHealth)
    }

    mutating func improve() { health = max(0, health - 1) }

    // MARK: - This host

    /// A new incarnation of this host's word.
    mutating func renew(leaving: Bool = false) {
        own.incarnation = min(own.incarnation + 1, SignedClaim.lastIncarnation)
        own.isLeaving = leaving
        sign()
        announce(.own(own), from: nil)
    }

    private mutating func sign() {
        // OpenSSL fails only without memory. A claim without a signature is void: others refuse it.
        let signature = (try? seals.sign(own.message)) ?? []
        own.signature =
            signature.count == BatchSeal.signatureBytes
            ? signature : Array(repeating: 0, count: BatchSeal.signatureBytes)
    }

    private mutating func leave() {
        renew(leaving: true)
        for node in linked.sorted() { effects.append(.send(.gossip([.own(own)]), to: node)) }
        isLeaving = true
    }

    // MARK: - Links

    private mutating func link(_ node: NodeID, _ time: Duration) {
        guard node != own.node, !denied.contains(node) else { return }
        linked.insert(node)
        probes[node] = nil
        effects.append(.send(.gossip([.own(own)]), to: node))
        guard var record = records[node] else { return }
        record.sign = time
        record.clearEvidence()
        records[node] = record
        if record.state != .alive { tell(node, time) }
        offerTable(to: node)
    }

    private mutating func unlink(_ node: NodeID, _ time: Duration) {
        guard linked.contains(node) else { return }
        part(node)
        guard records[node]?.isThere == true, tuning.isLifeguard else { return }
        // Where nobody can tell, whether somebody listens there does: ``refuse(_:_:)``.
        if isMesh || !relays(to: node).isEmpty { probe(node, time) }
    }

    private mutating func part(_ node: NodeID) {
        guard linked.remove(node) != nil else { return }
        probes[node] = nil
        errands.removeAll { $0.requester == node }
        for errand in errands where errand.target == node { answer(errand, isAlive: false) }
        errands.removeAll { $0.target == node }
    }

    private mutating func refuse(_ node: NodeID, _ time: Duration) {
        guard tuning.isLifeguard, !linked.contains(node), records[node]?.isThere == true else { return }
        records[node]?.isRefused = true
        probe(node, time)
        confirmDeath(node, time)
    }

    private mutating func evict(_ node: NodeID) {
        guard node != own.node else { return }
        denied.insert(node)
        linked.remove(node)
        forget(node)
    }

    mutating func forget(_ node: NodeID) {
        guard records[node] != nil else { return }
        store(nil, for: node)
        probes[node] = nil
        news[node] = nil
        effects.append(.forgot(node))
    }

    /// Keeps count of who is there and who is suspected.
    mutating func store(_ record: Record?, for node: NodeID) {
        if records[node]?.isThere == true { size -= 1 }
        if record?.isThere == true { size += 1 }
        if record?.state == .suspect { suspects.insert(node) } else { suspects.remove(node) }
        records[node] = record
    }

    // MARK: - Results

    func member(_ record: Record) -> Member {
        Member(
            node: record.claim.node, instance: record.claim.instance, incarnation: record.claim.incarnation,
            state: record.state, facts: record.claim.facts, since: record.since + lost, heard: record.sign + lost)
    }

    mutating func changed(_ node: NodeID) {
        if let record = records[node] { effects.append(.changed(member(record))) }
    }

    /// One event may change a member twice (a claim that it lived, then one that it died): the last counts.
    private func lastChanges() -> [Effect] {
        var seen: Set<NodeID> = []
        var kept: [Effect] = []
        for effect in effects.reversed() {
            if case .changed(let member) = effect, !seen.insert(member.node).inserted { continue }
            kept.append(effect)
        }
        return kept.reversed()
    }
}
