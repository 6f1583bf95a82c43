internal import Core

/// Telling others: news to a few neighbours at a time, and a comparison of everything now and then.
extension Membership {
    /// Of one member: its own word, or its death; or several accusations, one of each accuser.
    struct News: Sendable {
        var claim: MembershipClaim
        var accuser: NodeID?
        var told: Set<NodeID>
        var transmissions = 0
    }

    /// So many members at once can be news; of more, the next comparison of tables tells.
    static let mostNews = 1_024

    /// `peer` said so itself, if anyone.
    mutating func announce(_ claim: MembershipClaim, from peer: NodeID?) {
        var item = News(claim: claim, told: peer.map { [$0] } ?? [])
        switch claim {
        case .own(let own):
            item.told.insert(own.node)
            replaceNews(of: own.node, by: item)
        case .dead(let node, _, _): replaceNews(of: node, by: item)
        case .suspect(let node, _, let accuser):
            item.accuser = accuser
            var items = (news[node] ?? []).filter { $0.accuser != nil && $0.accuser != accuser }
            items.append(item)
            replaceNews(of: node, by: items)
        }
    }

    private mutating func replaceNews(of node: NodeID, by item: News) { replaceNews(of: node, by: [item]) }

    private mutating func replaceNews(of node: NodeID, by items: [News]) {
        guard node == own.node || news[node] != nil || news.count < Self.mostNews else { return }
        news[node] = items
    }

    mutating func gossip(_ time: Duration) {
        guard !news.isEmpty, time >= nextGossip else { return }
        nextGossip = time + tuning.gossipInterval
        let ears = linked.sorted().filter { records[$0]?.isThere ?? true }
        // What this host makes of having lost all links is said once there is somebody to refute it.
        guard !ears.isEmpty else { return }
        var receivers = 0
        for peer in ears.shuffled(using: &random) {
            let claims = claims(for: peer)
            guard !claims.isEmpty else { continue }
            effects.append(.send(.gossip(claims), to: peer))
            receivers += 1
            if receivers == 3 { break }
        }
        let limit = 4 * String(size).count
        for (node, items) in news {
            let rest = items.filter { item in
                item.transmissions < limit && ears.contains { !item.told.contains($0) }
            }
            news[node] = rest.isEmpty ? nil : rest
        }
    }

    /// News that `peer` has not been told, the least told first, and now counts as told. About `subject`, if there is
    /// one, what is said of it comes first (Lifeguard's buddy system).
    mutating func claims(for peer: NodeID, about subject: NodeID? = nil) -> [MembershipClaim] {
        var claims: [MembershipClaim] = []
        if let subject, let record = records[subject], record.state != .alive { claims = self.claims(about: record) }
        guard !news.isEmpty else { return claims }
        var untold: [(transmissions: Int, node: NodeID, index: Int)] = []
        for (node, items) in news {
            for (index, item) in items.enumerated() where !item.told.contains(peer) {
                untold.append((item.transmissions, node, index))
            }
        }
        for place in untold.sorted(by: { $0 < $1 }).prefix(Limits.claimsPerMessage / 2) {
            guard let claim = news[place.node]?[place.index].claim else { continue }
            news[place.node]?[place.index].told.insert(peer)
            news[place.node]?[place.index].transmissions += 1
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
    ///
    /// - Parameter accusation: what this host was told and does not believe; else what it holds itself.
    mutating func tell(_ node: NodeID, _ time: Duration, saying accusation: MembershipClaim? = nil) {
        guard let record = records[node], linked.contains(node) else { return }
        if let told = record.told, time - told < .milliseconds(250) { return }
        records[node]?.told = time
        effects.append(.send(.gossip(accusation.map { [$0] } ?? claims(about: record)), to: node))
    }

    mutating func tell(about nodes: [NodeID], to peer: NodeID) {
        var claims: [MembershipClaim] = []
        for node in nodes {
            if node == own.node {
                claims.append(.own(own))
            } else if let record = records[node] {
                // Without its own word the accusation is not believed, and asked about again at once, for ever.
                if record.state == .suspect { claims.append(.own(record.claim)) }
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
