internal import Core

/// Above the mesh's limit (swarm.md §5): batches travel through ``Overlay``'s tree, and the words of those who stored them
/// back to their author by the way that the batch came.
extension Replication {
    /// What a host that catches up waits for before it tells its neighbours how far it is.
    private static let news = Duration.milliseconds(50)

    mutating func spread(_ batches: [OperationBatch], _ turn: inout Turn) {
        for batch in batches { turn.effects.append(.broadcast(batch)) }
    }

    /// What came another way than through the tree its neighbours may lack as well: they are told as soon as it is
    /// stored, not with the next keepalives, so that after a partition each hop costs milliseconds.
    mutating func caughtUp(_ turn: inout Turn) {
        guard isTree, hasCaughtUp else { return }
        hasCaughtUp = false
        newsDueAt = newsDueAt ?? turn.now + Self.news
    }

    mutating func tellNews(_ turn: inout Turn) {
        guard let due = newsDueAt, turn.now >= due else { return }
        newsDueAt = nil
        for peer in peers.keys.sorted() where peers[peer]?.told != vector {
            tell(peer, isWhole: false, isQuestion: false, &turn)
        }
    }

    // MARK: - Who has what

    /// `holder` has it in its store. A word is passed on once, so none travels in a circle.
    mutating func hold(_ mark: ReplicationMessage.Mark, by holder: NodeID, _ turn: inout Turn) {
        guard holder != log.origin.node, mark.sequence > members[holder]?.stored[mark.origin] ?? 0 else { return }
        if members[holder] == nil { remember(holder, VersionVector(), turn.wallClock) }
        members[holder]?.stored.raise(mark.origin, to: mark.sequence)
        guard mark.origin.node != log.origin.node else {
            return turn.notice(.acknowledged(mark.origin, upTo: mark.sequence, by: holder))
        }
        let next = peers[mark.origin.node] == nil ? bringers[mark.origin] : mark.origin.node
        guard isTree, let next, next != holder, peers[next] != nil else { return }
        forwarded[next, default: [:]][holder, default: VersionVector()].raise(mark.origin, to: mark.sequence)
    }

    mutating func forwardHoldings(_ turn: inout Turn) {
        for (peer, holders) in forwarded.sorted(by: { $0.key < $1.key }) where peers[peer] != nil {
            let holdings = holders.sorted { $0.key < $1.key }.map { holder, stored in
                ReplicationMessage.Holding(
                    node: holder, marks: stored.entries.map { ReplicationMessage.Mark($0.origin, $0.sequence) })
            }
            send(.holdings(holdings), to: peer, &turn)
        }
        forwarded = [:]
    }
}
