import Core

/// What a peer says, and what this host asks of its peers.
extension Replication {
    mutating func receive(_ bytes: [UInt8], from peer: NodeID, _ turn: inout Turn) {
        guard peers[peer]?.isBroken == false else { return }
        let message: ReplicationMessage?
        do throws(RuntimeError) {
            message = try peers[peer]?.decoder.decode(bytes)
        } catch {
            tally.malformed += 1
            peers[peer]?.isBroken = true
            turn.notice(.malformed(peer, error.message))
            return
        }
        guard let message else { return }
        members[peer]?.seen = turn.wallClock
        switch message {
        case .push(let batches):
            for batch in batches { peers[peer]?.held.raise(batch.origin, to: batch.seal.sequence) }
            deliver(batches, from: peer, isDivisible: false, &turn)
            pursue(&turn)
        case .answer(let batch):
            if !mends(batch, by: peer, &turn) { answered(batch, by: peer, &turn) }
        case .vector(let marks, let isWhole, let isQuestion, let digest):
            heard(marks, isWhole: isWhole, digest: digest, from: peer, &turn)
            if isQuestion { tell(peer, isWhole: false, isQuestion: false, &turn) }
            pursue(&turn)
        case .keepalive(let digest): compare(digest, from: peer, &turn)
        case .stored(let marks):
            for mark in marks { confirm(mark, by: peer, &turn) }
        case .pull(let marks):
            for mark in marks { ask(mark, by: peer) }
            serve(peer, &turn)
        case .nothing(let mark):
            hasNoCopy(mark, peer, &turn)
            guard wants[mark.origin]?.asked?.peer == peer else { return }
            wants[mark.origin]?.asked = nil
            wants[mark.origin]?.tried.insert(peer)
            pursue(&turn)
        case .neighbours(let nodes): peers[peer]?.neighbours = Set(nodes)
        case .heads(let heads): contradict(heads, from: peer, &turn)
        case .holdings(let holdings):
            for holding in holdings {
                for mark in holding.marks { hold(mark, by: holding.node, &turn) }
            }
        }
    }

    // MARK: - Vectors and digests

    private mutating func heard(
        _ marks: [ReplicationMessage.Mark], isWhole: Bool, digest: Bytes16, from peer: NodeID, _ turn: inout Turn
    ) {
        var theirs = isWhole ? VersionVector() : peers[peer]?.stored ?? VersionVector()
        var news = VersionVector()
        for mark in marks {
            theirs[mark.origin] = mark.sequence
            news[mark.origin] = mark.sequence
        }
        peers[peer]?.stored = theirs
        // What was sent and did not arrive in its store may be on its way, or lost with its memory.
        peers[peer]?.held = theirs
        if peers[peer]?.isGreeted == false { returned(peer, &turn) }
        peers[peer]?.isGreeted = true
        peers[peer]?.mismatches = 0
        remember(peer, theirs, turn.wallClock)
        let origin = log.origin
        if log.heard(news) { turn.notice(.abandonedEpoch(origin)) }
        var lacking: UInt64 = 0
        // All of it, not the news alone: what this host's disk refused the peer has confirmed, and does not tell again.
        for entry in theirs.entries where !log.frozen.contains(entry.origin) {
            let reach = log.reach(of: entry.origin)
            guard entry.sequence > reach else { continue }
            lacking &+= entry.sequence - reach
            want(entry.origin, upTo: entry.sequence, after: Timing.patience, &turn)
            // Nobody had it for a while, and now somebody has.
            if let want = wants[entry.origin], want.asked == nil, want.due > turn.now + Timing.patience {
                wants[entry.origin]?.tried.remove(peer)
                wants[entry.origin]?.due = turn.now + Timing.patience
                turn.wake(at: turn.now + Timing.patience)
            }
        }
        if lacking > UInt64(Self.snapshotDistance), snapshot == nil, !isPaused, turn.now >= snapshotAllowedAt {
            snapshot = (peer, turn.now)
            turn.wake(at: turn.now + Timing.snapshotIdle)
            turn.effects.append(.fetchSnapshot(from: peer))
        }
        if theirs == vector, digest != shortDigest() { diverged(peer, &turn) }
    }

    /// An author who was away knows what nobody else could tell of its streams: that it has it, or that nobody has.
    private mutating func returned(_ author: NodeID, _ turn: inout Turn) {
        for origin in wants.keys.sorted() where origin.node == author && wants[origin]?.asked == nil {
            wants[origin]?.tried.remove(author)
            let due = min(wants[origin]?.due ?? turn.now, turn.now + Timing.patience)
            wants[origin]?.due = due
            turn.wake(at: due)
        }
    }

    private mutating func compare(_ digest: Bytes16, from peer: NodeID, _ turn: inout Turn) {
        guard digest != shortDigest() else {
            peers[peer]?.mismatches = 0
            peers[peer]?.stored = vector
            peers[peer]?.held.merge(vector)
            remember(peer, vector, turn.wallClock)
            return
        }
        peers[peer]?.mismatches += 1
        guard let count = peers[peer]?.mismatches, count >= 2 else { return }
        peers[peer]?.mismatches = 0
        tell(peer, isWhole: false, isQuestion: true, &turn)
    }

    private mutating func confirm(_ mark: ReplicationMessage.Mark, by peer: NodeID, _ turn: inout Turn) {
        peers[peer]?.stored.raise(mark.origin, to: mark.sequence)
        peers[peer]?.held.raise(mark.origin, to: mark.sequence)
        hold(mark, by: peer, &turn)
        // What this host's disk refused, it has.
        if mark.sequence > log.reach(of: mark.origin) {
            want(mark.origin, upTo: mark.sequence, after: Timing.refusal, &turn)
        }
    }

    mutating func remember(_ peer: NodeID, _ stored: VersionVector, _ wallClock: UInt64) {
        if members.count >= Limits.knownHosts, members[peer] == nil,
            let oldest = members.min(by: { ($0.value.seen, $0.key) < ($1.value.seen, $1.key) })
        {
            members[oldest.key] = nil
        }
        members[peer] = Member(stored: stored, seen: wallClock)
    }

    // MARK: - Divergence

    private mutating func diverged(_ peer: NodeID, _ turn: inout Turn) {
        if let last = peers[peer]?.alarmedAt, turn.now - last < Timing.alarm { return }
        peers[peer]?.alarmedAt = turn.now
        tally.divergences += 1
        turn.notice(.diverged(peer, origin: nil))
        let heads = storedHeads.sorted { $0.key < $1.key }.compactMap { origin, head in
            Bytes16(head.chain.bytes).map {
                ReplicationMessage.Head(ReplicationMessage.Mark(origin, head.sequence), $0)
            }
        }
        send(.heads(heads), to: peer, &turn)
    }

    private mutating func contradict(
        _ heads: [ReplicationMessage.Head], from peer: NodeID, _ turn: inout Turn
    ) {
        for head in heads {
            guard let ours = storedHeads[head.mark.origin], ours.sequence == head.mark.sequence,
                Bytes16(ours.chain.bytes) != head.chain
            else { continue }
            turn.notice(.diverged(peer, origin: head.mark.origin))
            challenge(head.mark.origin, after: log.trailStart(of: head.mark.origin), peer, &turn)
        }
    }

    // MARK: - Asking

    mutating func want(_ origin: Origin, upTo target: UInt64, after patience: Duration, _ turn: inout Turn) {
        guard !log.frozen.contains(origin), target > log.applied[origin] else { return }
        if wants[origin] == nil {
            guard wants.count < Limits.wantedOrigins else { return }
            wants[origin] = Want(target: target, due: turn.now + patience)
            turn.wake(at: turn.now + patience)
        } else if let known = wants[origin]?.target, target > known {
            wants[origin]?.target = target
        }
    }

    /// Asks for what is wanted and due: the author first, then any peer that has it.
    mutating func pursue(_ turn: inout Turn) {
        guard !wants.isEmpty, !isPaused else { return }
        var loads: [NodeID: Int] = [:]
        for want in wants.values { if let asked = want.asked { loads[asked.peer, default: 0] += 1 } }
        var pulls: [NodeID: [ReplicationMessage.Mark]] = [:]
        var lost: [Origin] = []
        for (origin, want) in wants.sorted(by: { $0.key < $1.key }) {
            if log.applied[origin] >= want.target || log.frozen.contains(origin) {
                wants[origin] = nil
                continue
            }
            if let asked = want.asked {
                guard turn.now - asked.at > Timing.answer else {
                    turn.wake(at: asked.at + Timing.answer)
                    continue
                }
                wants[origin]?.asked = nil
                wants[origin]?.tried.insert(asked.peer)
            }
            let reach = log.reach(of: origin)
            turn.wake(at: max(want.due, turn.now + Timing.tick))
            guard turn.now >= want.due, snapshot == nil, reach < want.target else { continue }
            guard let peer = source(of: origin, after: reach, tried: wants[origin]?.tried ?? []) else {
                if isLost(origin, above: reach, want) {
                    lost.append(origin)
                    wants[origin] = nil
                    continue
                }
                wants[origin]?.tried = []
                wants[origin]?.rounds += 1
                let pause = Timing.retry * (1 << min(4, want.rounds))
                wants[origin]?.due = turn.now + pause
                turn.wake(at: turn.now + pause)
                continue
            }
            guard loads[peer] ?? 0 < Self.askedOrigins else { continue }
            loads[peer, default: 0] += 1
            wants[origin]?.asked = (peer, turn.now)
            turn.wake(at: turn.now + Timing.answer)
            pulls[peer, default: []].append(ReplicationMessage.Mark(origin, reach))
        }
        for (peer, marks) in pulls.sorted(by: { $0.key < $1.key }) {
            tally.pulls += 1
            send(.pull(marks), to: peer, &turn)
        }
        if !lost.isEmpty { take(log.forsaken(lost, milliseconds: turn.wallClock), from: nil, &turn) }
    }

    /// Whether the next operation of `origin` is gone for good, as far as can be told: all who are linked were asked,
    /// its author among them, who by its own word writes a later stream or was asked in vain for seconds. (Its disk
    /// refused the operation, and whoever had it lost it: a disk was set back. Or a copy of its disk wrote it, and is
    /// gone.) Should it turn up all the same, it is taken then.
    private func isLost(_ origin: Origin, above reach: UInt64, _ want: Want) -> Bool {
        let isPatient = want.rounds < Self.roundsUntilLost
        if origin.node == log.origin.node { return log.origin.epoch > origin.epoch || !isPatient }
        guard want.tried.contains(origin.node), let author = peers[origin.node], author.isGreeted,
            author.stored[origin] <= reach
        else { return false }
        return !isPatient
            || author.stored.entries.contains { $0.origin.node == origin.node && $0.origin.epoch > origin.epoch }
    }

    /// With growing pauses: after 3 s.
    private static let roundsUntilLost = 2

    /// Origins that one peer is asked for at a time.
    private static let askedOrigins = 64

    private mutating func source(of origin: Origin, after: UInt64, tried: Set<NodeID>) -> NodeID? {
        let able = peers.keys.filter { peer in
            guard peers[peer]?.isBroken == false, !tried.contains(peer) else { return false }
            return peer == origin.node || peers[peer]?.held[origin] ?? 0 > after
                || peers[peer]?.stored[origin] ?? 0 > after
        }
        if able.contains(origin.node) { return origin.node }
        return able.isEmpty ? nil : able[Int.random(in: 0..<able.count, using: &random)]
    }

    private mutating func answered(_ batch: OperationBatch, by peer: NodeID, _ turn: inout Turn) {
        let origin = batch.origin
        // Not its vector: its store may be ahead of what it knows (a refused write that stands all the same), and the
        // digest that it sends is of what it knows.
        peers[peer]?.held.raise(origin, to: batch.seal.sequence)
        let before = log.reach(of: origin)
        deliver([batch], from: peer, isDivisible: true, &turn)
        // It is at work on the others that it was asked for.
        for other in wants.keys.sorted() where wants[other]?.asked?.peer == peer {
            wants[other]?.asked = (peer, turn.now)
        }
        if wants[origin]?.asked?.peer == peer {
            wants[origin]?.asked = nil
            if log.reach(of: origin) > before {
                wants[origin]?.tried = []
                wants[origin]?.rounds = 0
                wants[origin]?.due = turn.now
            } else {
                wants[origin]?.tried.insert(peer)
            }
        }
        pursue(&turn)
    }

    // MARK: - Answering

    private mutating func ask(_ mark: ReplicationMessage.Mark, by peer: NodeID) {
        guard let asked = peers[peer]?.asked else { return }
        if let index = asked.firstIndex(where: { $0.origin == mark.origin }) {
            peers[peer]?.asked[index] = mark
        } else if asked.count < Limits.knownHosts {
            peers[peer]?.asked.append(mark)
        }
    }

    /// The next read for a peer: one at a time, and none while its queue is busy.
    mutating func serve(_ peer: NodeID, _ turn: inout Turn) {
        guard peers[peer]?.isRead == false, let mark = peers[peer]?.asked.first else { return }
        guard turn.queues[peer] ?? 0 < Limits.batchBytes else { return turn.wake(at: turn.now + Timing.tick) }
        peers[peer]?.asked.removeFirst()
        peers[peer]?.isRead = true
        turn.effects.append(.read(Read(peer: peer, origin: mark.origin, after: mark.sequence)))
    }

    mutating func serve(_ read: Read, _ batch: OperationBatch?, _ turn: inout Turn) {
        guard peers[read.peer]?.isRead == true else { return }
        peers[read.peer]?.isRead = false
        if let batch {
            peers[read.peer]?.held.raise(batch.origin, to: batch.seal.sequence)
            tally.sent += batch.operations.count
            send(.answer(batch), to: read.peer, &turn)
        } else {
            send(.nothing(ReplicationMessage.Mark(read.origin, read.after)), to: read.peer, &turn)
        }
        serve(read.peer, &turn)
    }
}
