internal import Core

/// Taking what others say.
extension Membership {
    mutating func receive(_ message: MembershipMessage, from peer: NodeID, _ time: Duration) {
        guard linked.contains(peer) else { return }
        // Claims first: the sender may introduce itself with them.
        switch message {
        case .ping(_, let claims), .ack(_, let claims), .indirectPing(_, _, let claims), .nack(_, let claims),
            .gossip(let claims):
            for claim in claims { take(claim, from: peer, time) }
        case .digest, .table, .request: break
        }
        switch message {
        case .ping(let token, _): effects.append(.send(.ack(token, claims(for: peer)), to: peer))
        case .ack(let token, _): vouched(token, by: peer, time)
        case .indirectPing(let token, let target, _): run(token, for: peer, to: target, time)
        case .nack(let token, _): denied(token, by: peer, time)
        case .gossip: break
        case .digest(let digest): if digest != self.digest { offerTable(to: peer) }
        case .table(let entries): compare(entries, with: peer, time)
        case .request(let nodes): tell(about: nodes, to: peer)
        }
        hear(peer, time)
    }

    private mutating func take(_ claim: MembershipClaim, from peer: NodeID, _ time: Duration) {
        switch claim {
        case .own(let claim):
            if claim.node == own.node { outdo(claim, time) } else { take(claim, from: peer, time) }
        case .suspect(let node, let incarnation, let accuser):
            accused(node, incarnation, by: accuser, from: peer, isDead: false, time)
        case .dead(let node, let incarnation, let accuser):
            accused(node, incarnation, by: accuser, from: peer, isDead: true, time)
        }
    }

    private mutating func take(_ claim: SignedClaim, from peer: NodeID, _ time: Duration) {
        let former = records[claim.node]
        if let former, !claim.isNews(after: former.claim) {
            // The sender is behind, or repeats.
            if former.claim.incarnation > claim.incarnation, peer != claim.node { tell(about: [claim.node], to: peer) }
            return
        }
        guard !denied.contains(claim.node), isGenuine(claim), makeRoom(for: claim.node) else { return }
        if let former, former.claim.instance != claim.instance, former.formerInstance == claim.instance {
            effects.append(.cloned(claim.node, claim.instance))
        }
        let isSwitch = former.map { $0.claim.instance != claim.instance } ?? false
        let state: Member.State = claim.isLeaving ? .left : .alive
        let isSame = former?.state == state && former?.claim.facts == claim.facts && !isSwitch
        let record = Record(
            claim: claim, state: state, since: former?.state == state ? former?.since ?? time : time, sign: time,
            formerInstance: isSwitch ? former?.claim.instance : former?.formerInstance)
        store(record, for: claim.node)
        probes[claim.node] = nil
        announce(.own(claim), from: peer)
        if !isSame { changed(claim.node) }
        // Of two that have just met, one begins to compare what they know of the others.
        if former == nil, claim.node == peer, own.node < peer { effects.append(.send(.digest(digest), to: peer)) }
    }

    private func isGenuine(_ claim: SignedClaim) -> Bool {
        claim.incarnation <= SignedClaim.lastIncarnation && seals.node(claim.author) == claim.node
            && seals.verify(claim.signature, claim.message, claim.author)
    }

    private mutating func makeRoom(for node: NodeID) -> Bool {
        guard records[node] == nil, records.count >= Limits.knownHosts else { return true }
        let gone = records.values.filter { !$0.isThere && !linked.contains($0.claim.node) }
        guard let oldest = gone.min(by: { ($0.since, $0.claim.node) < ($1.since, $1.claim.node) }) else { return false }
        forget(oldest.claim.node)
        return true
    }

    static let mostRivals = 16

    /// Somebody holds a claim in this host's name: of an earlier run, which is outdone, or of a living clone, which
    /// outdoes this one in turn, again and again.
    private mutating func outdo(_ claim: SignedClaim, _ time: Duration) {
        guard claim.instance != own.instance || claim.isNews(after: own) else { return }
        guard claim.incarnation >= own.incarnation, isGenuine(claim) else { return }
        var rivalry = rivals[claim.instance] ?? Rivalry(first: time, last: time - .seconds(1), count: 0)
        // Two clones must not outdo one another as fast as the network goes.
        guard time - rivalry.last >= .seconds(1), rivals.count < Self.mostRivals || rivals[claim.instance] != nil else {
            return
        }
        rivalry.count += 1
        rivalry.last = time
        rivals[claim.instance] = rivalry
        own.incarnation = claim.incarnation
        renew()
        if rivalry.count >= 3, claim.instance != own.instance { effects.append(.cloned(own.node, claim.instance)) }
    }

    private mutating func accused(
        _ node: NodeID, _ incarnation: UInt64, by accuser: NodeID, from peer: NodeID, isDead: Bool, _ time: Duration
    ) {
        guard node != own.node else {
            if incarnation == own.incarnation {
                worsen(by: 1)
                renew()
            } else if incarnation < own.incarnation {
                effects.append(.send(.gossip([.own(own)]), to: peer))
            } else {
                // Of a clone's, or of an earlier run with a clock ahead: it is outdone once it is seen.
                effects.append(.send(.request([node]), to: peer))
            }
            return
        }
        guard !denied.contains(node), !denied.contains(accuser) else { return }
        guard let record = records[node], incarnation <= record.claim.incarnation else {
            // An incarnation of which there is no word of its own: asked for, not believed.
            return effects.append(.send(.request([node]), to: peer))
        }
        guard incarnation == record.claim.incarnation else { return tell(about: [node], to: peer) }
        guard record.isThere else { return }
        if hearsItself(node, time) {
            let accusation: MembershipClaim =
                isDead
                ? .dead(node, incarnation: incarnation, by: accuser)
                : .suspect(node, incarnation: incarnation, by: accuser)
            return tell(node, time, saying: accusation)
        }
        if isDead {
            bury(node, by: accuser, from: peer, time)
        } else {
            suspect(node, by: accuser, from: peer, time)
            confirmDeath(node, time)
        }
    }
}

extension SignedClaim {
    /// Of two with one incarnation, which only clones make, the one with the greater instance.
    fileprivate func isNews(after other: SignedClaim) -> Bool {
        (incarnation, instance) > (other.incarnation, other.instance)
    }
}
