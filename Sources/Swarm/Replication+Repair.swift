import Core

/// Operations of which this host's own row is damaged: asked for like a gap, from one peer after the other. What comes
/// is proven and put in place by the shell, which has the chain up to there.
extension Replication {
    struct Repair: Sendable {
        var after: UInt64
        var due: Duration
        var asked: (peer: NodeID, at: Duration)?
        /// Who has no copy, or gave a wrong one.
        var tried: Set<NodeID> = []
    }

    private static let answer = Duration.seconds(2)
    private static let round = Duration.seconds(1)

    mutating func damaged(_ origin: Origin, after: UInt64, except: Set<NodeID>, _ turn: inout Turn) {
        repairs[origin] = Repair(after: after, due: turn.now, tried: except)
        pursueRepairs(&turn)
    }

    mutating func pursueRepairs(_ turn: inout Turn) {
        for (origin, repair) in repairs.sorted(by: { $0.key < $1.key }) where turn.now >= repair.due {
            if let asked = repair.asked {
                guard peers[asked.peer] == nil || turn.now - asked.at > Self.answer else { continue }
                repairs[origin]?.asked = nil
                repairs[origin]?.tried.insert(asked.peer)
            }
            let tried = repairs[origin]?.tried ?? []
            let able = peers.keys.filter { peer in
                guard let state = peers[peer], !state.isBroken, !tried.contains(peer) else { return false }
                return state.held[origin] > repair.after || state.stored[origin] > repair.after || peer == origin.node
            }
            guard !able.isEmpty else {
                // Whoever is linked later may have it, and a damaged peer may be whole by then.
                repairs[origin]?.tried = []
                repairs[origin]?.due = turn.now + Self.round
                continue
            }
            let peer = able.contains(origin.node) ? origin.node : able[Int.random(in: 0..<able.count, using: &random)]
            repairs[origin]?.asked = (peer, turn.now)
            send(.pull([ReplicationMessage.Mark(origin, repair.after)]), to: peer, &turn)
        }
    }

    /// Whether a batch is what was asked for.
    mutating func mends(_ batch: OperationBatch, by peer: NodeID, _ turn: inout Turn) -> Bool {
        guard let repair = repairs[batch.origin], repair.asked?.peer == peer,
            batch.operations.first?.dot.sequence == repair.after + 1
        else { return false }
        repairs[batch.origin] = nil
        turn.effects.append(.repair(batch, from: peer))
        return true
    }

    mutating func hasNoCopy(_ mark: ReplicationMessage.Mark, _ peer: NodeID, _ turn: inout Turn) {
        guard let repair = repairs[mark.origin], repair.asked?.peer == peer, repair.after == mark.sequence else {
            return
        }
        repairs[mark.origin]?.asked = nil
        repairs[mark.origin]?.tried.insert(peer)
        pursueRepairs(&turn)
    }
}
