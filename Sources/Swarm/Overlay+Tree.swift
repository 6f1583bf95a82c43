internal import Core

/// Plumtree: payloads at once along the tree, ids along the other links.
extension Overlay {
    mutating func publish(_ payload: [UInt8], _ now: Duration) {
        let id = OverlayMessage.id(of: payload)
        guard memory.keep(id, OverlayMemory.Message(payload: payload, hops: 0, source: nil)) else { return }
        missing[id] = nil
        spread(id, payload, hops: 0, except: nil, now)
    }

    mutating func receive(_ message: OverlayMessage, from peer: NodeID, _ now: Duration) {
        guard peers[peer] != nil else { return }
        switch message {
        case .gossip(let id, let hops, let payload):
            let hops = min(hops, Int(UInt16.max) - 1) + 1
            guard memory.keep(id, OverlayMemory.Message(payload: payload, hops: hops, source: peer)) else {
                return duplicate(from: peer)
            }
            missing[id] = nil
            if peers[peer]?.isEager == false { favour(peer) }
            effects.append(.deliver(payload: payload, from: peer, hops: hops))
            spread(id, payload, hops: hops, except: peer, now)
        case .iHave(let notices):
            for notice in notices {
                if memory.knows(notice.id) { shorten(notice, by: peer) } else { miss(notice.id, holder: peer, now) }
            }
        case .graft(let ids):
            favour(peer)
            for id in ids {
                guard let known = memory[id] else { continue }
                effects.append(.send(.gossip(id: id, hops: known.hops, payload: known.payload), to: peer))
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
        guard let known = memory[notice.id], let source = known.source, source != peer, peers[source] != nil,
            notice.hops + 1 + Self.detour <= known.hops
        else { return }
        memory.forgetSource(of: notice.id)
        favour(peer)
        peers[source]?.isEager = false
        effects.append(.send(.graft([]), to: peer))
        effects.append(.send(.prune, to: source))
    }

    private mutating func favour(_ peer: NodeID) {
        peers[peer]?.isEager = true
        peers[peer]?.duplicates = 0
    }

    mutating func announce() {
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
    mutating func graft(_ id: Bytes16, _ now: Duration) {
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
}
