internal import Core

/// Asking whether members live, directly and through others.
extension Membership {
    mutating func beginPeriod(_ time: Duration) {
        nextPeriod = time + jittered(period * multiplier)
        if !isTroubled { improve() }
        isTroubled = false
        for node in suspects.sorted().prefix(8) { probe(node, time) }
        if let node = nextInRing(time) { probe(node, time) }
        tellNeighbours(time)
        if !isMesh { suspectUnreached(time) }
    }

    /// Whom this host is linked with, for everyone.
    private mutating func tellNeighbours(_ time: Duration) {
        let neighbours = linked.map(\.beginning).sorted()
        guard tuning.isLifeguard, neighbours != own.facts.neighbours, time >= nextNeighbours else { return }
        nextNeighbours = time + tuning.neighboursInterval
        own.facts.neighbours = neighbours
        renew()
    }

    /// Who was linked only with those who are gone, or cut off with them, is watched by nobody.
    private mutating func suspectUnreached(_ time: Duration) {
        let reached = topology.reached(from: own.node)
        for node in records.keys.sorted() where records[node]?.state == .alive {
            guard !linked.contains(node), !reached.contains(node) else {
                records[node]?.unreached = nil
                continue
            }
            guard let since = records[node]?.unreached else {
                records[node]?.unreached = time
                continue
            }
            if time - since >= tuning.isolation { suspect(node, by: own.node, from: nil, time) }
        }
    }

    /// As those who are there tell it.
    package var topology: Topology {
        let others = records.values.filter(\.isThere).map { ($0.claim.node, $0.claim.facts.neighbours) }
        return Topology([(own.node, linked.map(\.beginning))] + others)
    }

    /// The next member, in an order shuffled at each round, that no keepalive vouches for. Where not everyone is linked
    /// with everyone the neighbours of each watch it.
    private mutating func nextInRing(_ time: Duration) -> NodeID? {
        for _ in 0...records.count {
            if ring.isEmpty { ring = records.keys.sorted().shuffled(using: &random) }
            guard let node = ring.popLast(), let record = records[node], record.state == .alive else { continue }
            if linked.contains(node) ? time - record.sign > silence : isMesh { return node }
        }
        return nil
    }

    /// Linked members from which no keepalive came when one was due.
    mutating func probeSilent(_ time: Duration) {
        let silence = silence
        for node in linked.sorted() {
            guard let record = records[node], record.state == .alive, time - record.sign >= silence else { continue }
            probe(node, time)
        }
    }

    /// One random member that is dead, and linked all the same (frozen, or cut off without notice). Those without a
    /// link are dialed by ``Mesh``.
    mutating func resurrect(_ time: Duration) {
        nextResurrection = time + jittered(tuning.resurrectionInterval)
        let dead = linked.sorted().filter { records[$0]?.state == .dead }
        if let node = dead.randomElement(using: &random) { tell(node, time) }
    }

    mutating func probe(_ node: NodeID, _ time: Duration) {
        guard probes[node] == nil, let record = records[node], record.isThere else { return }
        lastToken += 1
        var probe = Probe(
            token: lastToken, deadline: time + tuning.pingTimeout * multiplier, end: time + period * multiplier)
        if linked.contains(node) {
            effects.append(.send(.ping(probe.token, claims(for: node, about: node)), to: node))
            probes[node] = probe
        } else {
            askOthers(about: node, &probe, time)
        }
    }

    private mutating func askOthers(about node: NodeID, _ probe: inout Probe, _ time: Duration) {
        probe.relays = Set(relays(to: node).shuffled(using: &random).prefix(tuning.relays))
        guard !probe.relays.isEmpty else {
            probes[node] = nil
            failed(node, time)
            return
        }
        probe.deadline = max(probe.end, time + tuning.pingTimeout * multiplier)
        probes[node] = probe
        // Who is suspected hears of it through the relay, and refutes: no other word may ever come to it.
        for relay in probe.relays.sorted() {
            effects.append(.send(.indirectPing(probe.token, node, claims(for: relay, about: node)), to: relay))
        }
    }

    /// Who may be linked with `node`; in a mesh everyone.
    func relays(to node: NodeID) -> [NodeID] {
        linked.sorted().filter { peer in
            guard peer != node, let record = records[peer], record.state == .alive else { return false }
            return isMesh || record.claim.facts.neighbours.contains(node.beginning)
        }
    }

    mutating func checkProbes(_ time: Duration) {
        for errand in errands where errand.deadline <= time { answer(errand, isAlive: false) }
        errands.removeAll { $0.deadline <= time }
        for node in probes.keys.sorted() {
            guard var probe = probes[node], probe.deadline <= time else { continue }
            if probe.relays.isEmpty {
                records[node]?.witnesses.insert(own.node)
                askOthers(about: node, &probe, time)
            } else {
                probes[node] = nil
                // Relays that said nothing at all: this host may be the one that does not hear.
                if probe.refusals.count < probe.relays.count {
                    worsen(by: probe.relays.count - probe.refusals.count)
                }
                failed(node, time)
            }
        }
    }

    private mutating func failed(_ node: NodeID, _ time: Duration) {
        records[node]?.witnesses.insert(own.node)
        suspect(node, by: own.node, from: nil, time)
        confirmDeath(node, time)
    }

    /// A sign of life from `node` itself.
    mutating func hear(_ node: NodeID, _ time: Duration) {
        // In its place: it is the most frequent of all steps, and a record is large.
        guard let isUnwell = records[node]?.heard(time) else { return }
        if probes.removeValue(forKey: node) != nil { improve() }
        if !errands.isEmpty {
            for errand in errands where errand.target == node { answer(errand, isAlive: true) }
            errands.removeAll { $0.target == node }
        }
        if isUnwell { tell(node, time) }
    }

    // MARK: - On behalf of others

    mutating func run(_ token: UInt64, for requester: NodeID, to target: NodeID, _ time: Duration) {
        guard target != own.node else { return effects.append(.send(.ack(token, []), to: requester)) }
        lastToken += 1
        let errand = Errand(
            token: lastToken, target: target, requester: requester, requesterToken: token,
            deadline: time + tuning.pingTimeout * 0.8)
        guard linked.contains(target), errands.count < Limits.knownHosts else {
            return answer(errand, isAlive: false)
        }
        errands.append(errand)
        effects.append(.send(.ping(errand.token, claims(for: target, about: target)), to: target))
    }

    mutating func answer(_ errand: Errand, isAlive: Bool) {
        guard linked.contains(errand.requester) else { return }
        let token = errand.requesterToken
        effects.append(.send(isAlive ? .ack(token, []) : .nack(token, []), to: errand.requester))
    }

    /// A relay reached the member that it was asked about.
    mutating func vouched(_ token: UInt64, by relay: NodeID, _ time: Duration) {
        guard let node = probes.keys.sorted().first(where: { probes[$0]?.token == token }),
            probes[node]?.relays.contains(relay) == true
        else { return }
        probes[node] = nil
        records[node]?.sign = time
        records[node]?.clearEvidence()
        improve()
    }

    mutating func denied(_ token: UInt64, by relay: NodeID, _ time: Duration) {
        guard let node = probes.keys.sorted().first(where: { probes[$0]?.token == token }),
            var probe = probes[node], probe.relays.contains(relay), probe.refusals.insert(relay).inserted
        else { return }
        records[node]?.witnesses.insert(relay)
        if probe.refusals == probe.relays {
            probes[node] = nil
            failed(node, time)
        } else {
            probes[node] = probe
            confirmDeath(node, time)
        }
    }

    // MARK: - Conclusions

    static let mostAccusers = 8

    mutating func suspect(_ node: NodeID, by accuser: NodeID, from peer: NodeID?, _ time: Duration) {
        guard var record = records[node], record.isThere else { return }
        if var suspicion = record.suspicion {
            guard suspicion.accusers.count < Self.mostAccusers, suspicion.accusers.insert(accuser).inserted else {
                return
            }
            record.suspicion = suspicion
            records[node] = record
        } else {
            record.suspicion = Suspicion(began: time, accusers: [accuser], multiplier: multiplier)
            record.state = .suspect
            record.since = time
            store(record, for: node)
            changed(node)
        }
        announce(.suspect(node, incarnation: record.claim.incarnation, by: accuser), from: peer)
    }

    mutating func checkSuspicions(_ time: Duration) {
        for node in suspects.sorted() {
            guard let suspicion = records[node]?.suspicion, deadline(of: suspicion) <= time else { continue }
            if hearsItself(node, time) {
                // It lives and has not refuted yet: told again, and given the time.
                records[node]?.suspicion?.began = time
                tell(node, time)
            } else {
                bury(node, by: own.node, from: nil, time)
            }
        }
    }

    /// The fast path: nobody listens where it did, and two others (or all there are) could not reach it either.
    mutating func confirmDeath(_ node: NodeID, _ time: Duration) {
        guard tuning.isLifeguard, let record = records[node], record.isThere, record.isRefused,
            record.witnesses.contains(own.node)
        else { return }
        let witnesses = record.witnesses.union(record.suspicion?.accusers ?? []).subtracting([own.node, node])
        if witnesses.count >= min(2, max(0, size - 2)) { bury(node, by: own.node, from: nil, time) }
    }

    mutating func bury(_ node: NodeID, by accuser: NodeID, from peer: NodeID?, _ time: Duration) {
        guard var record = records[node] else { return }
        record.state = .dead
        record.since = time
        record.accuser = accuser
        record.suspicion = nil
        record.clearEvidence()
        store(record, for: node)
        probes[node] = nil
        announce(.dead(node, incarnation: record.claim.incarnation, by: accuser), from: peer)
        changed(node)
    }

    /// This host's own ears say that it lives.
    func hearsItself(_ node: NodeID, _ time: Duration) -> Bool {
        guard tuning.isLifeguard, linked.contains(node), let record = records[node] else { return false }
        return time - record.sign < tuning.silence
    }
}
