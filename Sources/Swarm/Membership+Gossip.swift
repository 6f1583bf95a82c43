internal import Core

/// Telling others: news to a few neighbours at a time, and a comparison of everything now and then.
extension Membership {
    /// Accusations of one member by several are news each; anything else replaces what was said before.
    struct NewsKey: Hashable, Comparable, Sendable {
        var node: NodeID
        var accuser: NodeID?

        static func < (left: NewsKey, right: NewsKey) -> Bool {
            guard left.node == right.node else { return left.node < right.node }
            guard let accuser = right.accuser else { return false }
            return left.accuser.map { $0 < accuser } ?? true
        }
    }

    struct News: Sendable {
        var claim: MembershipClaim
        var told: Set<NodeID>
        var transmissions = 0
    }

    /// `peer` said so itself, if anyone.
    mutating func announce(_ claim: MembershipClaim, from peer: NodeID?) {
        let told: Set<NodeID> = peer.map { [$0] } ?? []
        switch claim {
        case .own(let own):
            news = news.filter { $0.key.node != own.node }
            news[NewsKey(node: own.node)] = News(claim: claim, told: told.union([own.node]))
        case .dead(let node, _, _):
            news = news.filter { $0.key.node != node }
            news[NewsKey(node: node)] = News(claim: claim, told: told)
        case .suspect(let node, _, let accuser):
            news[NewsKey(node: node, accuser: accuser)] = News(claim: claim, told: told)
        }
    }

    mutating func gossip(_ time: Duration) {
        guard !news.isEmpty, time >= nextGossip else { return }
        nextGossip = time + tuning.gossipInterval
        let ears = linked.sorted().filter { records[$0]?.isThere == true }
        var receivers = 0
        for peer in ears.shuffled(using: &random) {
            let claims = claims(for: peer)
            guard !claims.isEmpty else { continue }
            effects.append(.send(.gossip(claims), to: peer))
            receivers += 1
            if receivers == 3 { break }
        }
        let limit = 4 * String(size).count
        news = news.filter { entry in
            entry.value.transmissions < limit && ears.contains { !entry.value.told.contains($0) }
        }
    }

    /// News that `peer` has not been told, the least told first, and now counts as told. About `subject`, if there is
    /// one, what is said of it comes first (Lifeguard's buddy system).
    mutating func claims(for peer: NodeID, about subject: NodeID? = nil) -> [MembershipClaim] {
        var claims: [MembershipClaim] = []
        if let subject, let record = records[subject], record.state != .alive { claims = self.claims(about: record) }
        let untold = news.keys.filter { news[$0]?.told.contains(peer) == false }.sorted { left, right in
            let transmissions = (news[left]?.transmissions ?? 0, news[right]?.transmissions ?? 0)
            return transmissions.0 == transmissions.1 ? left < right : transmissions.0 < transmissions.1
        }
        for key in untold.prefix(Limits.claimsPerMessage / 2) {
            guard let claim = news[key]?.claim else { continue }
            news[key]?.told.insert(peer)
            news[key]?.transmissions += 1
            if !claims.contains(claim) { claims.append(claim) }
        }
        return claims
    }

    private func claims(about record: Record) -> [MembershipClaim] {
        let claim = record.claim
        switch record.state {
        case .alive, .left: return [.own(claim)]
        case .suspect:
            let accuser = record.suspicion?.accusers.min() ?? own.node
            return [.suspect(claim.node, incarnation: claim.incarnation, by: accuser)]
        case .dead:
            return [
                .own(claim), .dead(claim.node, incarnation: claim.incarnation, by: record.accuser ?? own.node),
            ]
        }
    }

    /// Tells a member what is said of it, so that it may refute; now and then, not with each of its signs of life.
    mutating func tell(_ node: NodeID, _ time: Duration) {
        guard let record = records[node], linked.contains(node) else { return }
        if let told = record.told, time - told < .milliseconds(250) { return }
        records[node]?.told = time
        effects.append(.send(.gossip(claims(about: record)), to: node))
    }

    mutating func tell(about nodes: [NodeID], to peer: NodeID) {
        var claims: [MembershipClaim] = []
        for node in nodes {
            if node == own.node {
                claims.append(.own(own))
            } else if let record = records[node] {
                claims += self.claims(about: record)
            }
            if claims.count >= Limits.claimsPerMessage / 2 {
                effects.append(.send(.gossip(claims), to: peer))
                claims = []
            }
        }
        if !claims.isEmpty { effects.append(.send(.gossip(claims), to: peer)) }
    }

    // MARK: - Comparing everything

    mutating func sync(_ time: Duration) {
        nextSync = time + jittered(tuning.syncInterval)
        let peers = linked.sorted().filter { records[$0]?.state == .alive }
        if let peer = peers.randomElement(using: &random) { effects.append(.send(.digest(digest), to: peer)) }
    }

    /// Equal on hosts that hold the same. Suspicion passes: it counts as alive.
    var digest: UInt64 {
        entries.reduce(0) { sum, entry in
            var mixer = SplitMix64(seed: entry.node.bytes.high ^ entry.incarnation)
            var last = SplitMix64(seed: mixer.next() ^ entry.node.bytes.low ^ (entry.state.isGone ? 1 : 0))
            return sum &+ last.next()
        }
    }

    private var entries: [MembershipEntry] {
        let others = records.keys.sorted().compactMap { records[$0] }.map { record in
            MembershipEntry(node: record.claim.node, incarnation: record.claim.incarnation, state: record.state)
        }
        return [MembershipEntry(node: own.node, incarnation: own.incarnation, state: .alive)] + others
    }

    mutating func offerTable(to peer: NodeID) { effects.append(.send(.table(entries), to: peer)) }

    mutating func compare(_ entries: [MembershipEntry], with peer: NodeID, _ time: Duration) {
        var wanted: [NodeID] = []
        var offered: [NodeID] = []
        var listed: Set<NodeID> = []
        for entry in entries where listed.insert(entry.node).inserted {
            let mine =
                entry.node == own.node
                ? (own.incarnation, Member.State.alive)
                : records[entry.node].map { ($0.claim.incarnation, $0.state) }
            guard let mine else {
                if !denied.contains(entry.node) { wanted.append(entry.node) }
                continue
            }
            if mine.0 < entry.incarnation || (mine.0 == entry.incarnation && !mine.1.isGone && entry.state.isGone) {
                wanted.append(entry.node)
            } else if mine.0 > entry.incarnation || (mine.1.isGone && !entry.state.isGone) {
                offered.append(entry.node)
            }
        }
        offered += records.keys.filter { !listed.contains($0) }.sorted()
        if !listed.contains(own.node) { offered.append(own.node) }
        tell(about: offered, to: peer)
        if !wanted.isEmpty { effects.append(.send(.request(wanted), to: peer)) }
    }
}

extension Member.State {
    fileprivate var isGone: Bool { self == .dead || self == .left }
}
