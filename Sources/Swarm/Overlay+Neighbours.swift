internal import Core

/// Whom to be linked with: the next in the ring, and random others.
extension Overlay {
    mutating func link(_ peer: NodeID, _ now: Duration) {
        guard peer != node, peers[peer] == nil else { return }
        peers[peer] = Peer(isEager: peers.values.count { $0.isEager } < eagerPeers, since: now)
        avoided[peer] = nil
        guard isActive else { return }
        if peers.count > limit { trimSoon(now) }
        choose(now)
    }

    mutating func unlink(_ peer: NodeID, _ now: Duration) {
        guard peers.removeValue(forKey: peer) != nil else { return }
        if chosen[peer] != nil {
            chosen[peer] = now
            due(now + patience)
        }
        if peers.isEmpty {
            // Who had no room once may have some now, and nobody else is left.
            avoided = [:]
            due(now + patience)
        }
        if isActive { choose(now) }
    }

    var patience: Duration { peers.isEmpty ? Self.lonelyPatience : Self.linkPatience }

    /// Not waited for: it is restarted or dead. If it comes back, it chooses its neighbours itself.
    mutating func refused(_ peer: NodeID, _ now: Duration) {
        guard isActive, peers[peer] == nil, chosen[peer] != nil else { return }
        chosen[peer] = nil
        avoid(peer, now)
        choose(now)
    }

    /// Another chord is as good. The next in the ring lets this host in as soon as it knows its place.
    mutating func full(_ peer: NodeID, _ now: Duration) {
        guard isActive, peers[peer] == nil, chosen[peer] != nil, peer != successor(now) else { return }
        chosen[peer] = nil
        avoid(peer, now)
        // Not one after the other as fast as the network goes.
        choiceDue = choiceDue ?? now + .seconds(1)
        due(now + .seconds(1))
    }

    mutating func join(_ members: [NodeID], _ now: Duration) {
        for member in members where member != node {
            let place = self.place(of: member)
            guard place == alive.count || alive[place] != member else { continue }
            alive.insert(member, at: place)
        }
        choose(now)
    }

    mutating func forget(_ member: NodeID, _ now: Duration) {
        let place = self.place(of: member)
        if place < alive.count, alive[place] == member { alive.remove(at: place) }
        chosen[member] = nil
        avoided[member] = nil
        choose(now)
    }

    /// Where `member` is, or would be, among the living.
    private func place(of member: NodeID) -> Int {
        var (low, high) = (0, alive.count)
        while low < high {
            let middle = (low + high) / 2
            if alive[middle] < member { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// The next living host, in the order of the ids, that can be linked.
    private func successor(_ now: Duration) -> NodeID? {
        let start = place(of: node)
        for step in alive.indices {
            let candidate = alive[(start + step) % alive.count]
            if !isAvoided(candidate, now) { return candidate }
        }
        return alive.isEmpty ? nil : alive[start % alive.count]
    }

    private var ring: [NodeID] {
        guard !alive.isEmpty else { return [] }
        let place = place(of: node)
        return Set([alive[place % alive.count], alive[(place + alive.count - 1) % alive.count]]).sorted()
    }

    private func isAvoided(_ member: NodeID, _ now: Duration) -> Bool {
        avoided[member].map { $0 > now } ?? false
    }

    private mutating func avoid(_ member: NodeID, _ now: Duration) {
        avoided = avoided.filter { $0.value > now }
        avoided[member] = now + Self.avoidance
    }

    /// How many this host chooses at present. Who has all its links looks for no more: only the ring must be.
    var wantedChoices: Int {
        let room = max(0, limit - peers.keys.count { chosen[$0] == nil })
        return max(1, min(ownChoices, room, alive.count))
    }

    mutating func choose(_ now: Duration) {
        // Not to and fro at the border.
        let isLarge = size > (isActive ? limit * 7 / 8 : limit)
        guard isLarge else {
            if isActive { effects.append(.neighbours(nil)) }
            isActive = false
            chosen = [:]
            avoided = [:]
            neighbours = nil
            trimDue = nil
            choiceDue = nil
            return
        }
        if !isActive {
            isActive = true
            if peers.count > limit { trimSoon(now) }
        }
        if let next = successor(now), chosen[next] == nil { choose(next, now) }
        if choiceDue.map({ $0 <= now }) ?? true { addChords(now) }
        dropChords(now)
        let place = Neighbours(chosen: chosen.keys.sorted(), ring: ring)
        guard place != neighbours else { return }
        neighbours = place
        effects.append(.neighbours(place))
    }

    private mutating func choose(_ member: NodeID, _ now: Duration) {
        chosen[member] = now
        if peers[member] == nil { due(now + patience) }
    }

    /// Random members. Those that are linked anyway are as good as others.
    private mutating func addChords(_ now: Duration) {
        var tries = 0
        while chosen.count < wantedChoices, tries < 8 * alive.count {
            tries += 1
            let candidate = alive[Int.random(in: alive.indices, using: &random)]
            if chosen[candidate] == nil, !isAvoided(candidate, now) { choose(candidate, now) }
        }
    }

    /// Who was chosen before the others filled the last place is not waited for.
    private mutating func dropChords(_ now: Duration) {
        let next = successor(now)
        for member in chosen.keys.sorted(by: >) where chosen.count > wantedChoices {
            if member != next, peers[member] == nil { chosen[member] = nil }
        }
    }

    // MARK: - Now and then

    mutating func tend(_ now: Duration) {
        guard isActive else { return }
        if let due = choiceDue, due <= now { choiceDue = nil }
        for (member, since) in chosen where peers[member] == nil && since + patience <= now {
            chosen[member] = nil
            avoid(member, now)
        }
        choose(now)
        if let due = trimDue, due <= now { trim(now) }
    }

    private mutating func trimSoon(_ now: Duration) {
        guard trimDue == nil else { return }
        trimDue = now + Self.trimDelay
        due(now + Self.trimDelay)
    }

    /// Ends the links that are too many: first those that others chose, the latest first, then chords of this host's
    /// own; the ring stays.
    private mutating func trim(_ now: Duration) {
        trimDue = nil
        let kept = Set(ring)
        let spare = peers.filter { !kept.contains($0.key) }.sorted { left, right in
            let (mine, theirs) = (chosen[left.key] != nil, chosen[right.key] != nil)
            if mine != theirs { return theirs }
            return (left.value.since, left.key) > (right.value.since, right.key)
        }
        for (peer, _) in spare.prefix(max(0, peers.count - limit)) {
            chosen[peer] = nil
            avoid(peer, now)
            effects.append(.release(peer))
        }
    }
}
