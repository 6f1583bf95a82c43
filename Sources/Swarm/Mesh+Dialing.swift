internal import Core

/// Hearing of hosts, and dialing them.
extension Mesh {
    mutating func sight(_ sighting: Sighting, _ now: Duration) {
        let isOperator = sighting.channel == .seed || sighting.channel == .manual
        let addresses = sighting.addresses.prefix(Limits.memberAddresses).filter { address in
            (1...65_535).contains(address.port) && !isOwn(address)
                && (address.isNear || isOperator || sighting.channel != .peer && identity.security == .key)
        }
        guard !addresses.isEmpty, !sighting.isLeaving else { return }
        if let node = sighting.node, let instance = sighting.instance, isDouble(node, instance) {
            return sightDouble(node, instance, sighting, addresses, now)
        }
        guard sighting.node != identity.node else { return }
        let known = sighting.node.flatMap { byNode[$0] } ?? (sighting.node == nil ? find(addresses) : nil)
        guard let id = known ?? makeEntry(sighting.node, addresses, now: now) else { return }
        var hasNews = known == nil
        if learn(id, addresses) { hasNews = true }
        guard var entry = entries[id] else { return }
        if let instance = sighting.instance, entry.host.instance != instance {
            if entry.host.link == nil {
                hasNews = hasNews || entry.host.instance != nil
                entry.host.instance = instance
            }
        }
        if isOperator {
            entry.configured.formUnion(addresses)
            // Whoever asks by hand wants it tried now.
            if sighting.channel == .manual { hasNews = true }
        }
        entry.host.channels = merged(entry.host.channels, [sighting.channel])
        entry.host.lastSeen = now
        if entry.host.link == nil {
            entry.host.swarm = sighting.swarm ?? entry.host.swarm
            entry.host.security = sighting.security ?? entry.host.security
            entry.host.version = sighting.version ?? entry.host.version
        }
        entries[id] = entry
        consider(id, hasNews: hasNews, now)
    }

    /// The entry without an id, or of a linked host, that has one of these addresses.
    private func find(_ addresses: [NetworkAddress]) -> Int? {
        for address in addresses {
            if let id = byAddress[address] { return id }
            let holder = entries.keys.sorted().first { id in
                guard let entry = entries[id], !entry.isDouble else { return false }
                return entry.listened == address || (entry.host.node != nil && entry.configured.contains(address))
            }
            if let holder { return holder }
        }
        return nil
    }

    /// Whether to dial after a sighting: at once where there is something new, or it could not be reached until now.
    private mutating func consider(_ id: Int, hasNews: Bool, _ now: Duration) {
        guard let entry = entries[id], entry.host.link == nil else { return }
        if let reason = reasonAgainst(entry) {
            nextDials[id] = nil
            return stand(id, reason.standing, reason.whyNot)
        }
        // A member that could not be reached for a while is heard of: so it can be now.
        let isMissing = entry.isMember && (entry.host.standing == .unreachable || entry.host.standing == .connecting)
        if hasNews {
            entries[id]?.failures = 0
            entries[id]?.untried = []
            stand(id, .connecting, nil)
            schedule(id, after: courtesy(entry.host.node), now)
        } else if entry.isCold || isMissing || nextDials[id] == nil {
            schedule(id, after: courtesy(entry.host.node), now)
        }
    }

    /// Both sides see one another at once: the one with the higher id lets the other dial first.
    private mutating func courtesy(_ node: NodeID?) -> Duration {
        let jitter = Duration.milliseconds(Int.random(in: 0...20, using: &random))
        guard let node, node < identity.node else { return jitter }
        return .milliseconds(150) + jitter
    }

    mutating func schedule(_ id: Int, after pause: Duration, _ now: Duration) {
        guard let entry = entries[id], entry.dialing == 0 else { return }
        let due = max(now + pause, entry.lastDial.map { $0 + Self.leastPause } ?? now)
        nextDials[id] = min(nextDials[id] ?? due, due)
    }

    /// What an announcement says that rules a link out. It is not authenticated, so of a member it is not believed.
    private func reasonAgainst(_ entry: Entry) -> (standing: MeshHost.Standing, whyNot: String)? {
        if let node = entry.host.node, denied.contains(node) {
            return (.evicted, "This host was evicted from the swarm.")
        }
        guard !entry.isMember else { return nil }
        if let security = entry.host.security, security != identity.security {
            return (
                .incompatible,
                security == .open
                    ? "It runs in open mode (mcp.open) and this host has a key: set the same on both."
                    : "It has a swarm key and this host runs in open mode: set mcp.open to false here."
            )
        }
        if let swarm = entry.host.swarm, !swarms.contains(swarm) { return (.foreign, Self.foreignAdvice) }
        return nil
    }

    static let foreignAdvice =
        "It has another swarm key. To join them, run `igris-runtime swarm join KEY` on one with the key of the other, "
        + "or set the same mcp.encryption_key on both."

    /// The others have shut this host out, and never take that back: it knocks no more.
    mutating func evicted() {
        guard !isEvicted else { return }
        isEvicted = true
        nextDials = [:]
        effects.append(.evicted)
    }

    /// Whether it is to be dialed when its time comes.
    func isWanted(_ entry: Entry) -> Bool {
        guard !isEvicted, entry.host.link == nil, entry.dialing == 0 || !entry.untried.isEmpty else { return false }
        if let node = entry.host.node {
            if denied.contains(node) { return false }
            if isLeftToOthers(entry) { return false }
            if !entry.isDouble, links.values.contains(where: { $0.node == node && $0.isDialed }) { return false }
        }
        return hasRoom(for: entry.host.node)
    }

    /// A living member that others are linked with.
    private func isLeftToOthers(_ entry: Entry) -> Bool {
        guard let neighbours, let node = entry.host.node, entry.isMember, !entry.isCold, !entry.isBroken else {
            return false
        }
        return !neighbours.chosen.contains(node)
    }

    /// Up to the limit. Beyond it the ring must close, and newcomers and those who were away must learn who else there
    /// is; the overlay releases others then.
    func hasRoom(for node: NodeID?) -> Bool {
        if linkCount < limit { return true }
        guard let node, let neighbours else { return false }
        let entry = byNode[node].flatMap { entries[$0] }
        if neighbours.ring.contains(node) || neighbours.chosen.contains(node) {
            return linkCount < limit + Self.doorLinks + 2
        }
        return (entry?.isMember != true || entry?.isCold == true) && linkCount < limit + Self.doorLinks
    }

    mutating func dialDue(_ now: Duration) {
        for id in nextDials.filter({ $0.value <= now }).keys.sorted() {
            guard dials.count < Self.dialsAtOnce else { return }
            guard let entry = entries[id] else { continue }
            if isWanted(entry) { dial(id, now) } else if isLeftToOthers(entry) { nextDials[id] = nil }
        }
    }

    private mutating func dial(_ id: Int, _ now: Duration) {
        guard var entry = entries[id] else { return }
        nextDials[id] = nil
        if entry.untried.isEmpty {
            // A new round.
            entry.failure = nil
            entry.untried = entry.host.addresses.filter { !isOwn($0) }
            if let listened = entry.listened, let index = entry.untried.firstIndex(of: listened) {
                entry.untried.swapAt(0, index)
            }
        }
        let free = entry.untried.firstIndex { dials[$0] == nil }
        guard let free else {
            // All are being dialed on another's account; or there are none but this host's own.
            if !entry.untried.isEmpty { nextDials[id] = now + Self.leastPause }
            entry.untried = []
            entries[id] = entry
            return
        }
        let address = entry.untried.remove(at: free)
        entry.dialing += 1
        entry.lastDial = now
        if !entry.untried.isEmpty { nextDials[id] = now + Self.stagger }
        entries[id] = entry
        dials[address] = id
        effects.append(.dial(address))
    }

    // MARK: - Failures

    mutating func fail(_ address: NetworkAddress, _ failure: LinkFailure, _ now: Duration) {
        guard let id = dials.removeValue(forKey: address), var entry = entries[id] else { return }
        entry.dialing -= 1
        entry.failure = entry.failure.map { $0.reason.weight >= failure.reason.weight ? $0 : failure } ?? failure
        let isWhereItWas = address == (entry.listened ?? entry.host.addresses.first)
        if failure.reason == .refused, isWhereItWas, let node = entry.host.node, entry.isMember, !entry.isCold {
            effects.append(.refused(node))
        }
        if !entry.untried.isEmpty {
            nextDials[id] = now
            entries[id] = entry
            return
        }
        entries[id] = entry
        if entry.dialing == 0, entry.host.link == nil { giveUpRound(id, entry.failure ?? failure, now) }
    }

    /// All its addresses were tried.
    mutating func giveUpRound(_ id: Int, _ failure: LinkFailure, _ now: Duration) {
        guard var entry = entries[id] else { return }
        entry.failures += 1
        entry.isBroken = false
        if entry.isDouble, entry.failures >= 3 {
            // An announcement that outlived its host.
            return remove(id)
        }
        nextDials[id] = entry.isCold ? nil : now + backoff(entry.failures)
        entries[id] = entry
        // Where it was linked it is no more: that may have been a clone, and the host itself was refused.
        if let node = entry.host.node, !entry.isDouble { trySecondRuns(of: node, now) }
        switch failure.reason {
        case .keyMismatch: stand(id, .foreign, failure.message.isEmpty ? Self.foreignAdvice : failure.message)
        case .denied: stand(id, .evicted, failure.message)
        case .evicted:
            stand(id, .evicted, failure.message)
            evicted()
        case .refused, .unreachable, .timedOut, .notIgris, .closed: stand(id, .unreachable, failure.message)
        }
    }

    mutating func backoff(_ failures: Int) -> Duration {
        let doubled = Self.backoff.first * (1 << min(max(failures - 1, 0), 16))
        return min(doubled, Self.backoff.last) * Double.random(in: 0.75...1, using: &random)
    }

    // MARK: - What others decide

    mutating func member(_ node: NodeID, _ state: Member.State, _ addresses: [NetworkAddress], _ now: Duration) {
        guard node != identity.node else { return }
        let near = addresses.prefix(Limits.memberAddresses).filter { $0.isNear && !isOwn($0) }
        guard let id = byNode[node] ?? makeEntry(node, Array(near), now: now) else { return }
        let hasNews = learn(id, Array(near))
        guard var entry = entries[id] else { return }
        let wasAway = !entry.isMember || entry.isCold
        entry.isMember = true
        entry.isCold = state == .dead || state == .left
        entry.died = state == .dead ? entry.died ?? now : nil
        if state == .dead { nextResurrection = min(nextResurrection ?? now, now + Self.firstResurrection) }
        if !entry.host.channels.contains(.peer), entry.host.channels.isEmpty { entry.host.channels = [.peer] }
        if entry.isCold { nextDials[id] = nil }
        entries[id] = entry
        // It may be a clone that has fallen silent: then the host itself is where it was refused from.
        if state == .suspect { trySecondRuns(of: node, now) }
        if entry.isCold {
            if let link = entry.host.link { close(link, now) }
        } else if entry.host.link == nil, wasAway || hasNews {
            if wasAway { entries[id]?.failures = 0 }
            if !denied.contains(node) { stand(id, .connecting, nil) }
            schedule(id, after: courtesy(node), now)
        }
    }

    mutating func settle(_ nodes: Overlay.Neighbours?, _ now: Duration) {
        let former = neighbours
        neighbours = nodes.map { (Set($0.chosen), Set($0.ring)) }
        for id in entries.keys.sorted() {
            guard let entry = entries[id], let node = entry.host.node, entry.host.link == nil, entry.isMember,
                !entry.isCold, neighbours?.chosen.contains(node) ?? true
            else { continue }
            // That it had no room for a chord some time ago says nothing of its room for a neighbour now.
            let isNew = neighbours != nil && former?.chosen.contains(node) == false
            guard nextDials[id] == nil || isNew else { continue }
            if isNew { entries[id]?.failures = 0 }
            schedule(id, after: courtesy(node), now)
        }
    }

    mutating func accept(_ accepted: Set<SwarmID>, _ now: Duration) {
        swarms = accepted
        for id in entries.keys.sorted() {
            guard let entry = entries[id], entry.host.standing == .foreign, reasonAgainst(entry) == nil else {
                continue
            }
            entries[id]?.failures = 0
            stand(id, .connecting, nil)
            schedule(id, after: .zero, now)
        }
    }

    mutating func deny(_ nodes: Set<NodeID>, _ now: Duration) {
        denied = nodes
        for number in links.keys.sorted() where links[number].map({ nodes.contains($0.node) }) == true {
            effects.append(.send(number, .refusal(.evicted)))
            close(number, now)
        }
        for id in entries.keys.sorted() {
            guard let entry = entries[id], let node = entry.host.node else { continue }
            if nodes.contains(node) {
                nextDials[id] = nil
                stand(id, .evicted, "This host was evicted from the swarm.")
            } else if entry.host.standing == .evicted {
                stand(id, .connecting, nil)
                schedule(id, after: .zero, now)
            }
        }
    }

    /// One random host that is taken for dead, every ten seconds, at first every two: so partitions heal without any
    /// sighting.
    mutating func resurrect(_ now: Duration) {
        guard let due = nextResurrection, due <= now else {
            if nextResurrection == nil { nextResurrection = now + jittered(Self.resurrectionInterval) }
            return
        }
        let isFresh = entries.values.contains { $0.died.map { now - $0 < Self.freshness } == true }
        nextResurrection = now + jittered(isFresh ? Self.freshResurrectionInterval : Self.resurrectionInterval)
        for id in entries.keys.sorted() {
            guard let entry = entries[id], entry.isDouble, entry.host.standing == .cloned else { continue }
            if now - entry.host.lastSeen > Self.doubleExpiry { remove(id) }
        }
        let cold = entries.keys.sorted().filter { id in
            guard let entry = entries[id] else { return false }
            return entry.isCold && entry.dialing == 0 && entry.host.link == nil
        }
        if let id = cold.randomElement(using: &random) { schedule(id, after: .zero, now) }
    }

    mutating func jittered(_ duration: Duration) -> Duration {
        duration * Double.random(in: 0.8...1.2, using: &random)
    }
}

extension LinkFailure.Reason {
    /// How much it tells of why there is no link: of several addresses the most telling failure is shown.
    fileprivate var weight: Int {
        switch self {
        case .evicted: 7
        case .denied: 6
        case .keyMismatch: 5
        case .notIgris: 4
        case .refused: 3
        case .closed: 2
        case .timedOut: 1
        case .unreachable: 0
        }
    }
}
