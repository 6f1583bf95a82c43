package import Core

extension Replication {
    /// One linked peer.
    struct Peer: Sendable {
        var encoder = ReplicationEncoder()
        var decoder = ReplicationDecoder()
        /// What its store has, by its own word.
        var stored = VersionVector()
        /// That, and what was sent to it or came from it.
        var held = VersionVector()
        /// Our vector as it knows it.
        var told = VersionVector()
        /// Its vector has come.
        var isGreeted = false
        /// Whom it is linked with; nil until it says.
        var neighbours: Set<NodeID>?
        /// Waits for its queue to get shorter.
        var outbox: [OperationBatch] = []
        var outboxBytes = 0
        var isDemoted = false
        /// It sent what cannot be understood.
        var isBroken = false
        /// Keepalives in a row with another digest than ours.
        var mismatches = 0
        var keepaliveAt: Duration
        var alarmedAt: Duration?
        /// What it asked for, in turn.
        var asked: [ReplicationMessage.Mark] = []
        var isRead = false
    }

    /// What is remembered of a host, linked or not.
    struct Member: Sendable {
        var stored: VersionVector
        /// Milliseconds since 1970.
        var seen: UInt64
    }

    /// Operations that somebody has and this host has not.
    struct Want: Sendable {
        /// At least up to here.
        var target: UInt64
        var due: Duration
        var asked: (peer: NodeID, at: Duration)?
        /// Who had nothing, or did not answer.
        var tried: Set<NodeID> = []
        /// How often nobody had it.
        var rounds = 0
    }

    // MARK: - Reports

    /// Every peer that is linked, ascending.
    package var lags: [Lag] {
        peers.keys.compactMap { peer in
            guard let state = peers[peer] else { return nil }
            return Lag(
                peer: peer, behind: Self.distance(from: log.applied, to: state.stored),
                ahead: Self.distance(from: state.stored, to: vector), isGreeted: state.isGreeted,
                isDemoted: state.isDemoted)
        }
    }

    /// The hosts, linked now or earlier, whose stores hold `dot`, as far as they have said; ascending.
    package func holders(of dot: Dot) -> [NodeID] {
        members.filter { $0.value.stored.contains(dot) }.keys.sorted()
    }

    /// Whether a snapshot is being fetched.
    package var isFetching: Bool { snapshot != nil }

    /// What every host has that was seen since `since` (milliseconds since 1970), this one included (swarm.md §4).
    /// Nobody who counts will ever ask for anything below. Known since the start only: a host that was not seen since
    /// is not counted.
    package func stableCut(since: UInt64) -> VersionVector {
        let others = members.filter { $0.value.seen >= since }
        var cut = VersionVector()
        for entry in vector.entries {
            cut[entry.origin] = others.reduce(entry.sequence) { min($0, $1.value.stored[entry.origin]) }
        }
        return cut
    }

    static func distance(from lower: VersionVector, to upper: VersionVector) -> Int {
        var sum: UInt64 = 0
        for entry in upper.entries where entry.sequence > lower[entry.origin] {
            sum &+= entry.sequence - lower[entry.origin]
        }
        return Int(clamping: sum)
    }

    // MARK: - Links

    mutating func link(_ peer: NodeID, _ turn: inout Turn) {
        guard peer != log.origin.node else { return }
        if peers[peer] != nil { unlink(peer, &turn) }
        let delay = keepaliveDelay()
        peers[peer] = Peer(keepaliveAt: turn.now + delay)
        tell(peer, isWhole: true, isQuestion: false, &turn)
        // At once, for the new one; the others can wait for further changes.
        send(.neighbours(peers.keys), to: peer, &turn)
        tellNeighbours(&turn)
        turn.wake(at: turn.now + delay)
        postUnsettled(to: peer)
        flush(peer, &turn)
    }

    mutating func unlink(_ peer: NodeID, _ turn: inout Turn) {
        guard peers.remove(peer) else { return }
        tellNeighbours(&turn)
        for origin in wants.keys.sorted() where wants[origin]?.asked?.peer == peer { wants[origin]?.asked = nil }
        pursue(&turn)
    }

    /// Soon, with whatever else changes until then.
    private mutating func tellNeighbours(_ turn: inout Turn) {
        neighboursDueAt = neighboursDueAt ?? turn.now + Timing.neighbours
        if let due = neighboursDueAt { turn.wake(at: due) }
    }

    mutating func tick(_ turn: inout Turn) {
        if let due = neighboursDueAt {
            if turn.now >= due {
                neighboursDueAt = nil
                let nodes = peers.keys
                for peer in nodes { send(.neighbours(nodes), to: peer, &turn) }
            } else {
                turn.wake(at: due)
            }
        }
        tellNews(&turn)
        forwardHoldings(&turn)
        for peer in peers.keys {
            flush(peer, &turn)
            serve(peer, &turn)
            guard let due = peers[peer]?.keepaliveAt else { continue }
            guard turn.now >= due else {
                turn.wake(at: due)
                continue
            }
            let delay = keepaliveDelay()
            peers[peer]?.keepaliveAt = turn.now + delay
            turn.wake(at: turn.now + delay)
            // What is queued on a busy link says as much as a keepalive would.
            if turn.queues[peer] ?? 0 < Self.busyBytes { send(.keepalive(digest: shortDigest()), to: peer, &turn) }
        }
        if let fetch = snapshot {
            if turn.now - fetch.since > Timing.snapshotIdle { snapshot = nil }
            turn.wake(at: fetch.since + Timing.snapshotIdle)
        }
        pursue(&turn)
        if !repairs.isEmpty { pursueRepairs(&turn) }
        pursueSalvage(&turn)
        if !findings.isEmpty { pursueFindings(&turn) }
    }

    /// 1 s ± 20 %.
    private mutating func keepaliveDelay() -> Duration {
        Timing.keepaliveLeast + .milliseconds(Int.random(in: 0...400, using: &random))
    }

    /// Above this a link is busy: what comes is gathered.
    static let busyBytes = 256 * 1024

    // MARK: - Sending

    mutating func send(_ message: ReplicationMessage, to peer: NodeID, _ turn: inout Turn) {
        guard peers[peer]?.isBroken == false else { return }
        for bytes in peers[peer]?.encoder.encode(message) ?? [] { turn.effects.append(.send(bytes, to: peer)) }
    }

    /// Our vector: all of it, or what changed since the peer heard it last.
    mutating func tell(_ peer: NodeID, isWhole: Bool, isQuestion: Bool, _ turn: inout Turn) {
        guard let told = peers[peer]?.told else { return }
        let marks = vector.entries.filter { isWhole || $0.sequence != told[$0.origin] }
            .map { ReplicationMessage.Mark($0.origin, $0.sequence) }
        peers[peer]?.told = vector
        send(.vector(marks, isWhole: isWhole, isQuestion: isQuestion, digest: shortDigest()), to: peer, &turn)
    }

    mutating func post(_ batch: OperationBatch, to peer: NodeID) {
        guard peers[peer]?.isDemoted == false, peers[peer]?.isBroken == false else { return }
        let size = batch.operations.reduce(100) { $0 + $1.body.count + 32 }
        let bytes = peers[peer]?.outboxBytes ?? 0
        guard bytes + size <= Limits.linkQueueBytes || bytes == 0 else {
            demote(peer)
            return
        }
        peers[peer]?.outbox.append(batch)
        peers[peer]?.outboxBytes = bytes + size
        peers[peer]?.held.raise(batch.origin, to: batch.seal.sequence)
    }

    private mutating func demote(_ peer: NodeID) {
        peers[peer]?.isDemoted = true
        peers[peer]?.outbox = []
        peers[peer]?.outboxBytes = 0
    }

    /// Sends what waits for the peer, unless its queue is busy: then it grows, and travels in fewer batches.
    mutating func flush(_ peer: NodeID, _ turn: inout Turn) {
        guard peers[peer]?.isBroken == false else { return }
        let queue = turn.queues[peer] ?? 0
        if peers[peer]?.isDemoted == true {
            guard queue < Self.busyBytes else { return turn.wake(at: turn.now + Timing.tick) }
            peers[peer]?.isDemoted = false
            tell(peer, isWhole: false, isQuestion: true, &turn)
            return
        }
        guard let bytes = peers[peer]?.outboxBytes, bytes > 0, let outbox = peers[peer]?.outbox else { return }
        guard queue < Self.busyBytes else {
            if queue + bytes > Limits.linkQueueBytes { demote(peer) }
            return turn.wake(at: turn.now + Timing.tick)
        }
        peers[peer]?.outbox = []
        peers[peer]?.outboxBytes = 0
        tally.sent += outbox.reduce(0) { $0 + $1.operations.count }
        send(.push(Self.joined(outbox)), to: peer, &turn)
    }

    /// Neighbouring batches of one origin as one, where the later depends on its own origin only: what depends on
    /// others may have to wait for them, and what they wait for with it.
    package static func joined(_ batches: [OperationBatch]) -> [OperationBatch] {
        var joined: [OperationBatch] = []
        for batch in batches {
            let isAlone = batch.operations.allSatisfy { operation in
                operation.dependencies.allSatisfy { $0.origin == batch.origin }
            }
            if isAlone, let last = joined.last, last.origin == batch.origin,
                last.seal.sequence + 1 == batch.operations.first?.dot.sequence,
                last.operations.count + batch.operations.count <= Limits.batchOperations
            {
                joined[joined.count - 1].operations += batch.operations
                joined[joined.count - 1].seal = batch.seal
            } else {
                joined.append(batch)
            }
        }
        return joined
    }
}

extension VersionVector {
    mutating func raise(_ origin: Origin, to sequence: UInt64) {
        if sequence > self[origin] { self[origin] = sequence }
    }
}
