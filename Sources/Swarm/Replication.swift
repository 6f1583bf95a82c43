// The replicated log across hosts (swarm.md §2, §5), without I/O.
//
// What is as the page says: own operations go to every linked peer before the disk has them; a host that lacks some
// asks for them, their author first; every keepalive carries a digest, so that nothing stays unnoticed for longer than
// two of them. Our readings and deviations:
//
// - The vector and the digest that a host tells are of its store, not of its memory: they are what it will still have
//   after a crash. A digest covers the chain hashes too, and every vector comes with the digest of just that vector, so
//   that equal vectors with unequal content are told for certain, not guessed.
// - Each host tells its peers whom it is linked with. What comes from P goes on to a peer X that is not linked with P
//   (nor with the author), by the least of those who are linked with both: across a partition that a third host
//   bridges an operation needs one hop more, and in a full mesh nothing is ever sent twice. Only what came as its
//   author sealed it goes on: what a store has joined may have to be taken in part. Digests heal what this misses,
//   within two keepalives.
// - Above the mesh's limit batches go through ``Overlay``'s tree instead, each as its author sealed it; what comes
//   another way than through the tree is handed to it, where it is known by its content: `Replication+Tree`.
// - A batch is joined with the one before it only where it depends on nobody else: see `OperationLog`.
// - A peer whose queue is full is sent nothing until it has drained; it is told the vector then, and asks.
//
// Bounds: a peer's outbox `Limits.linkQueueBytes`; asked pulls 64 origins a peer; queued pulls of a peer 4,096 origins,
// one read of the store for a peer at a time; members remembered `Limits.knownHosts`.

package import Core
internal import Cryptography

/// A pure machine. It owns the ``OperationLog``; its shell owns the disk and the links.
///
/// The shell's part: perform the effects in their order; answer each ``Effect/commit(_:)`` with
/// ``Event/stored(_:)`` or ``Event/refused(_:heads:)``, each ``Effect/read(_:)`` with ``Event/read(_:_:)``; tick every
/// 20 ms. Messages are whole: ``LinkChannel`` byte included, both ways. After ``Notice/malformed(_:_:)`` the link should
/// be closed: nothing that follows on it is understood.
package struct Replication: Sendable {
    package enum Event: Sendable {
        /// A fresh link carries all messages with this peer from now on; an earlier one is over.
        case linked(NodeID)
        case unlinked(NodeID)
        case received([UInt8], from: NodeID)
        /// Batches go through the tree from now on, or no longer.
        case spreading(throughTree: Bool)
        /// Another host's batch, which `from` brought through the tree.
        case broadcast(OperationBatch, from: NodeID)
        /// The store has it, by the number of the ``Write``.
        case stored(UInt64)
        /// The store refused it. `heads` is where its origins stand in the store, read afresh: some refused writes
        /// stand all the same. The shell reads until it can; nothing else of that kind is written meanwhile.
        case refused(UInt64, heads: [LogHead])
        /// What the store has above the place that was asked for; nil where it cannot give a sealed batch.
        case read(Read, OperationBatch?)
        /// A piece of a snapshot, in the snapshot's order.
        case snapshot([OperationBatch], from: NodeID)
        /// All of it is here, or it could not be had.
        case snapshotEnded(from: NodeID, isWhole: Bool)
        /// The operation after this place is damaged in the store: a copy of it is wanted. Those in `except` have given
        /// one that is not what its author signed.
        case damaged(Origin, after: UInt64, except: Set<NodeID>)
        /// The disk is nearly full: nothing of others is taken or asked for until it has room again.
        case pausing(Bool)
        case ticked
    }

    package enum Effect: Sendable {
        case send([UInt8], to: NodeID)
        /// For ``Overlay``: all should have it.
        case broadcast(OperationBatch)
        /// Write this to the store, with the rows of the views that follow. At most one own and one other write are on
        /// their way at a time; the store must do them in the order of the effects.
        case commit(Write)
        /// Read a batch for a peer, or for this host itself.
        case read(Read)
        /// This host is too far behind to ask for operations one batch after the other.
        case fetchSnapshot(from: NodeID)
        /// A peer's copy of what ``Event/damaged(_:after:except:)`` asked for: prove it by the chain, and put it in place.
        case repair(OperationBatch, from: NodeID)
        case notice(Notice)
    }

    /// One atomic write of the log.
    package struct Write: Sendable {
        package var number: UInt64
        /// What this host wrote itself: must be on disk for good. The other kind need only outlive the process.
        package var isOwn: Bool
        package var operations: [Operation]
        package var heads: [LogHead]
        package var seals: [BatchSeal]

        fileprivate var advance: OperationLog.Advance {
            OperationLog.Advance(operations: operations, heads: heads, seals: seals)
        }
    }

    /// A peer asks for the operations of `origin` above `after`.
    package struct Read: Hashable, Sendable {
        package var peer: NodeID
        package var origin: Origin
        package var after: UInt64

        package init(peer: NodeID, origin: Origin, after: UInt64) {
            self.peer = peer
            self.origin = origin
            self.after = after
        }
    }

    /// What an operator, a metric or a waiting client wants to know.
    package enum Notice: Hashable, Sendable {
        /// A peer has this host's stream up to here in its store.
        case acknowledged(Origin, upTo: UInt64, by: NodeID)
        /// A batch is not what its author signed, or contradicts what is here; it was thrown away.
        case rejected(Origin, sequence: UInt64, by: NodeID)
        /// An author signed two different streams; nothing more of it is taken.
        case equivocated(OperationLog.Equivocation)
        /// This host can prove it: to be written, as an operation of ``EquivocationProof/stream``, for all others.
        case proven(EquivocationProof)
        /// It is proven, here or by another host.
        case convicted(Origin)
        /// Equal vectors, different content: must never happen.
        case diverged(NodeID, origin: Origin?)
        case clockAhead(NodeID, milliseconds: UInt64)
        /// Not a message that can be: the session is over.
        case malformed(NodeID, String)
        /// This host's stream ended and a new epoch began: the disk refused, or a peer holds more of it than this host.
        case abandonedEpoch(Origin)
    }

    /// How this host and one peer stand.
    package struct Lag: Hashable, Sendable {
        package var peer: NodeID
        /// Operations it has and this host has not; and the other way round.
        package var behind: Int
        package var ahead: Int
        /// It has said what it has, over this link: until then both figures may be of long ago.
        package var isGreeted: Bool
        /// Its queue is full: it gets nothing until it drains, then asks for what it lacks.
        package var isDemoted: Bool
    }

    /// Counted since the start.
    package struct Tally: Hashable, Sendable {
        package var sent = 0
        package var received = 0
        package var pulls = 0
        package var divergences = 0
        package var rejections = 0
        package var malformed = 0

        package init() {}
    }

    package enum Timing {
        package static let tick = Duration.milliseconds(20)
        package static let keepalive = Duration.seconds(1)
        static let keepaliveLeast = keepalive * 4 / 5
        /// So long a missing operation may still be on its way by itself.
        static let patience = Duration.milliseconds(20)
        static let answer = Duration.milliseconds(400)
        static let retry = Duration.milliseconds(500)
        static let refusal = Duration.seconds(1)
        static let challenge = Duration.seconds(5)
        static let alarm = Duration.seconds(30)
        static let neighbours = Duration.milliseconds(200)
        static let snapshotRetry = Duration.seconds(30)
        static let snapshotIdle = Duration.seconds(60)
    }

    /// Beyond so many missing operations a snapshot is fetched.
    package static let snapshotDistance = 2_000

    /// What this host has applied, its own stream included.
    package internal(set) var log: OperationLog
    package internal(set) var tally = Tally()
    var peers = PeerTable()
    /// Also those not linked now.
    var members: [NodeID: Member] = [:]
    var wants: [Origin: Want] = [:]
    var repairs: [Origin: Repair] = [:]
    /// By whom this host knows to have signed two streams.
    package internal(set) var proofs: [Origin: EquivocationProof] = [:]
    var findings: [Origin: Finding] = [:]
    var salvaged: [Salvage] = []
    /// Of what the disk refused and this host keeps in memory until it takes it.
    package internal(set) var salvagedBytes = 0
    var salvageDue: Duration?
    /// In a row.
    var refusals = 0
    var snapshot: (peer: NodeID, since: Duration)?
    var snapshotAllowedAt = Duration.zero
    var challenged: [Origin: Duration] = [:]
    var traces: [Origin: Trace] = [:]
    var neighboursDueAt: Duration?
    /// Nothing of others is taken.
    var isPaused = false
    /// Not everyone is linked with everyone: the tree carries what is fresh.
    var isTree = false
    var hasCaughtUp = false
    var newsDueAt: Duration?
    /// Who has what, for the next hop on the way to the author.
    var forwarded: [NodeID: [NodeID: VersionVector]] = [:]
    /// A ``Event/ticked`` before this finds nothing to do.
    package private(set) var wake = Duration.zero
    var random: SplitMix64

    // What the store has, and what is on its way there.
    var storedHeads: [Origin: LogHead] = [:]
    package internal(set) var vector = VersionVector()
    private var cachedDigest: Bytes16?
    private var numbers: UInt64 = 0
    private var ownWrite: Write?
    private var otherWrite: Write?
    private var ownNext = OperationLog.Advance()
    private var otherNext = OperationLog.Advance()
    /// Of ``ownWrite`` and ``ownNext``, as they travel.
    private var unsettled: [OperationBatch] = []
    /// Who brought the latest of an origin that is not linked itself.
    var bringers: [Origin: NodeID] = [:]

    /// - Parameters:
    ///   - seed: for the jitter of keepalives and the choice among peers.
    ///   - evidence: what the store has of ``EquivocationProof/stream``.
    package init(_ recovered: RecoveredLog, seals: SealScheme, seed: UInt64, evidence: [Operation] = []) {
        log = OperationLog(recovered, seals: seals)
        random = SplitMix64(seed: seed)
        for head in recovered.heads {
            storedHeads[head.origin] = head
            vector[head.origin] = head.sequence
        }
        var turn = Turn(now: .zero, wallClock: 0, queues: [:])
        learn(evidence, &turn)
    }

    // MARK: - Events

    /// - Parameters:
    ///   - now: since the start, monotonic.
    ///   - wallClock: milliseconds since 1970.
    ///   - queues: bytes that wait on the links; a peer left out has none.
    package mutating func step(
        _ event: Event, now: Duration, wallClock: UInt64, queues: [NodeID: Int] = [:]
    ) -> [Effect] {
        var turn = Turn(now: now, wallClock: wallClock, queues: queues)
        switch event {
        case .linked(let peer): link(peer, &turn)
        case .unlinked(let peer): unlink(peer, &turn)
        case .received(let bytes, let peer): receive(bytes, from: peer, &turn)
        case .spreading(let throughTree): isTree = throughTree
        case .broadcast(let batch, let peer):
            peers[peer]?.held.raise(batch.origin, to: batch.seal.sequence)
            deliver([batch], from: peer, isDivisible: false, isBroadcast: true, &turn)
            pursue(&turn)
        case .stored(let number): stored(number, &turn)
        case .refused(let number, let heads): refused(number, heads, &turn)
        case .read(let read, let batch):
            if read.peer == log.origin.node {
                prove(read, batch, &turn)
                traced(read, batch, &turn)
            } else {
                serve(read, batch, &turn)
            }
        case .snapshot(let batches, let peer):
            snapshot = snapshot.map { ($0.peer, now) }
            deliver(batches, from: peer, isDivisible: true, &turn)
        case .snapshotEnded(let peer, let isWhole):
            if snapshot?.peer == peer { snapshot = nil }
            if !isWhole { snapshotAllowedAt = now + Timing.snapshotRetry }
            pursue(&turn)
        case .damaged(let origin, let after, let except): damaged(origin, after: after, except: except, &turn)
        case .pausing(let isPaused): pause(isPaused, &turn)
        case .ticked:
            guard now >= wake else { return [] }
            wake = .seconds(Int64.max)
            tick(&turn)
        }
        // The tree's news and repairs have no times of their own.
        if isTree || !repairs.isEmpty { turn.wake(at: now + Timing.tick) }
        if let salvageDue { turn.wake(at: salvageDue) }
        wake = min(wake, turn.wake)
        return turn.effects
    }

    /// Gives each draft the next place in this host's stream, signs, and pushes to the peers. A draft may depend on an
    /// earlier one of the same call: ``OperationLog/nextDot(after:)`` tells which dot that will be. Throws what the
    /// signing throws; nothing is numbered then.
    package mutating func propose(
        _ drafts: [OperationLog.Draft], now: Duration, wallClock: UInt64, queues: [NodeID: Int] = [:]
    ) throws(RuntimeError) -> (operations: [Operation], effects: [Effect]) {
        let (advance, batches) = try log.proposed(drafts, milliseconds: wallClock)
        guard !batches.isEmpty else { return ([], []) }
        var turn = Turn(now: now, wallClock: wallClock, queues: queues)
        unsettled += batches
        if isTree {
            spread(batches, &turn)
        } else {
            for peer in peers.keys {
                for batch in batches { post(batch, to: peer) }
                flush(peer, &turn)
            }
        }
        ownNext.add(advance)
        write(&turn)
        // The tree's news and repairs have no times of their own.
        if isTree || !repairs.isEmpty { turn.wake(at: now + Timing.tick) }
        wake = min(wake, turn.wake)
        return (advance.operations, turn.effects)
    }

    /// One call's circumstances, and what comes of it.
    struct Turn {
        let now: Duration
        let wallClock: UInt64
        let queues: [NodeID: Int]
        var effects: [Effect] = []
        /// What this call leaves to a tick is due then.
        var wake = Duration.seconds(Int64.max)

        mutating func wake(at time: Duration) { wake = min(wake, time) }

        mutating func notice(_ notice: Notice) { effects.append(.notice(notice)) }
    }

    // MARK: - The store

    /// What waits to be written of others' operations, in bytes: a shell that lets it grow without reading less from
    /// its links has no bound.
    package var backlog: Int { otherNext.bytes }

    /// SHA-256 over what the store holds, chains included: equal on hosts that hold the same.
    package var digest: [UInt8] {
        var writer = ByteWriter()
        writer.put(raw: Array("igris-log-1".utf8))
        for (origin, head) in storedHeads.sorted(by: { $0.key < $1.key }) where head.sequence > 0 {
            writer.put(origin.node.bytes)
            writer.put(bigEndian: origin.epoch)
            writer.put(bigEndian: head.sequence)
            writer.put(raw: head.chain.bytes)
        }
        return SHA256.hash(writer.bytes)
    }

    /// The first half of ``digest``, computed once for each state of the store.
    mutating func shortDigest() -> Bytes16 {
        if let cachedDigest { return cachedDigest }
        let digest = Bytes16(digest) ?? Bytes16(high: 0, low: 0)
        cachedDigest = digest
        return digest
    }

    /// Starts what can be started: one write of each kind at a time.
    mutating func write(_ turn: inout Turn) {
        if ownWrite == nil, !ownNext.operations.isEmpty, !Self.clashes(otherWrite?.operations, ownNext.operations) {
            ownWrite = begin(ownNext, isOwn: true, &turn)
            ownNext = OperationLog.Advance()
        }
        if otherWrite == nil, !otherNext.operations.isEmpty, !Self.clashes(ownWrite?.operations, otherNext.operations) {
            otherWrite = begin(otherNext, isOwn: false, &turn)
            otherNext = OperationLog.Advance()
        }
    }

    /// Whether one deletes what the other writes to: nothing is erased for the sake of a delete that the store may
    /// still refuse.
    private static func clashes(_ running: [Operation]?, _ next: [Operation]) -> Bool {
        guard let running else { return false }
        let all = [running, next]
        return all.indices.contains { index in
            let deleted = Set(all[index].lazy.filter { $0.kind.removes }.map(\.stream))
            return !deleted.isEmpty && all[1 - index].contains { deleted.contains($0.stream) }
        }
    }

    /// This host's operations that have gone to peers and wait for the write before theirs.
    package var waiting: [Operation] { ownNext.operations }

    private mutating func begin(_ advance: OperationLog.Advance, isOwn: Bool, _ turn: inout Turn) -> Write {
        numbers += 1
        let write = Write(
            number: numbers, isOwn: isOwn, operations: advance.operations, heads: advance.heads, seals: advance.seals)
        turn.effects.append(.commit(write))
        return write
    }

    private mutating func stored(_ number: UInt64, _ turn: inout Turn) {
        let write: Write
        if let own = ownWrite, own.number == number {
            write = own
            ownWrite = nil
        } else if let other = otherWrite, other.number == number {
            write = other
            otherWrite = nil
        } else {
            return
        }
        refusals = 0
        // A disk that takes this may take what it refused, too.
        salvageDue = salvageDue.map { min($0, turn.now + Timing.patience) }
        for head in write.heads { hold(head) }
        if write.isOwn {
            unsettled.removeAll { vector[$0.origin] >= $0.seal.sequence }
        } else {
            acknowledge(write.heads, &turn)
            caughtUp(&turn)
        }
        self.write(&turn)
    }

    private mutating func hold(_ head: LogHead) {
        storedHeads[head.origin] = head
        vector[head.origin] = head.sequence
        cachedDigest = nil
    }

    /// The authors hear that their operations are safe; of those not linked, whoever brought them.
    private mutating func acknowledge(_ heads: [LogHead], _ turn: inout Turn) {
        var marks: [NodeID: [ReplicationMessage.Mark]] = [:]
        for head in heads {
            let bringer = peers[head.origin.node] == nil ? bringers[head.origin] : head.origin.node
            guard let bringer, peers[bringer] != nil else { continue }
            marks[bringer, default: []].append(ReplicationMessage.Mark(head.origin, head.sequence))
            peers[bringer]?.told[head.origin] = head.sequence
        }
        for (peer, marks) in marks.sorted(by: { $0.key < $1.key }) { send(.stored(marks), to: peer, &turn) }
    }

    /// All that was to follow goes with what was refused. Of others' operations nothing is lost: they are asked for
    /// again. Of its own, the host goes on in a new epoch; what peers have of the old one comes back from them.
    private mutating func refused(_ number: UInt64, _ heads: [LogHead], _ turn: inout Turn) {
        let isOwn: Bool
        if let own = ownWrite, own.number == number { isOwn = true } else { isOwn = false }
        guard isOwn || otherWrite?.number == number else { return }
        let lost = isOwn ? ownWrite : otherWrite
        let origins = Set(((lost?.operations ?? []) + (isOwn ? ownNext : otherNext).operations).map(\.dot.origin))
        for head in heads where head.sequence > vector[head.origin] { hold(head) }
        log.retreat(
            to: origins.sorted().map { storedHeads[$0] ?? LogHead(origin: $0, sequence: 0, chain: .empty) })
        if isOwn {
            ownWrite = nil
            ownNext = OperationLog.Advance()
            let origin = log.origin
            log.abandonEpoch()
            salvage(own: unsettled, &turn)
            unsettled = []
            turn.notice(.abandonedEpoch(origin))
        } else {
            var refused = lost?.advance ?? OperationLog.Advance()
            refused.add(otherNext)
            salvage(refused, &turn)
            otherWrite = nil
            otherNext = OperationLog.Advance()
        }
        for origin in origins.sorted() {
            for peer in peers.keys {
                let theirs = peers[peer]?.stored[origin] ?? 0
                if theirs > log.applied[origin] { want(origin, upTo: theirs, after: Timing.refusal, &turn) }
            }
        }
        write(&turn)
    }

    // MARK: - Operations of others

    /// What comes meanwhile is dropped: whoever has it says so again, and is asked then.
    private mutating func pause(_ isPaused: Bool, _ turn: inout Turn) {
        guard isPaused != self.isPaused else { return }
        self.isPaused = isPaused
        guard !isPaused else { return }
        snapshotAllowedAt = turn.now
        for origin in wants.keys.sorted() {
            wants[origin]?.tried = []
            wants[origin]?.due = turn.now
        }
        for peer in peers.keys { tell(peer, isWhole: false, isQuestion: true, &turn) }
        pursue(&turn)
    }

    mutating func deliver(
        _ batches: [OperationBatch], from peer: NodeID, isDivisible: Bool, isBroadcast: Bool = false,
        _ turn: inout Turn
    ) {
        guard !isPaused else { return }
        let origin = log.origin
        tally.received += batches.reduce(0) { $0 + $1.operations.count }
        let actions = log.received(batches, from: peer, isDivisible: isDivisible, milliseconds: turn.wallClock)
        if log.origin != origin { turn.notice(.abandonedEpoch(origin)) }
        take(actions, from: peer, isDivisible: isDivisible, isBroadcast: isBroadcast, &turn)
    }

    /// - Parameter peer: who brought what can be taken now; nil where nobody did.
    mutating func take(
        _ actions: [OperationLog.Action], from peer: NodeID?, isDivisible: Bool = false, isBroadcast: Bool = false,
        _ turn: inout Turn
    ) {
        for action in actions {
            switch action {
            case .apply(let advance):
                otherNext.add(advance)
                learn(advance.operations, &turn)
                guard let peer else {
                    if isTree { spread(advance.whole, &turn) }
                    continue
                }
                for head in advance.heads { bringers[head.origin] = peer }
                if isTree {
                    if isDivisible { hasCaughtUp = true }
                    if !isBroadcast { spread(advance.whole, &turn) }
                } else {
                    pass(advance.whole, from: peer, &turn)
                }
            case .pull(let origin, let after):
                want(origin, upTo: after &+ 1, after: Timing.patience, &turn)
            case .dropped: break
            case .clockAhead(let node, let milliseconds):
                turn.notice(.clockAhead(node, milliseconds: milliseconds))
            case .rejected(let origin, let sequence, let after, let by):
                tally.rejections += 1
                turn.notice(.rejected(origin, sequence: sequence, by: by))
                wants[origin]?.tried.insert(by)
                challenge(origin, after: after, by, &turn)
            case .equivocated(let contradiction):
                turn.notice(.equivocated(contradiction))
                found(contradiction, &turn)
            }
        }
        write(&turn)
    }

    /// Sends on what a peer cannot get from those it is linked with.
    private mutating func pass(_ batches: [OperationBatch], from bringer: NodeID, _ turn: inout Turn) {
        guard peers.count > 1 else { return }
        let theirs = peers[bringer]?.neighbours ?? []
        for peer in peers.keys where peer != bringer {
            guard let linked = peers[peer]?.neighbours, !linked.contains(bringer) else { continue }
            // The least of those who could do it does.
            let isLeast = !theirs.contains { $0 < log.origin.node && linked.contains($0) }
            guard isLeast else { continue }
            for batch in batches where batch.origin.node != peer && !linked.contains(batch.origin.node) {
                if peers[peer]?.held[batch.origin] ?? 0 < batch.seal.sequence { post(batch, to: peer) }
            }
            flush(peer, &turn)
        }
    }

    /// A fresh link gets what the store does not have yet: no vector tells of it.
    mutating func postUnsettled(to peer: NodeID) {
        for batch in unsettled { post(batch, to: peer) }
    }
}

extension OperationLog.Advance {
    var bytes: Int { operations.reduce(0) { $0 + $1.body.count + 128 } }

    /// Adds what comes after.
    mutating func add(_ next: OperationLog.Advance) {
        operations += next.operations
        seals += next.seals
        for head in next.heads {
            if let index = heads.firstIndex(where: { $0.origin == head.origin }) {
                heads[index] = head
            } else {
                heads.append(head)
            }
        }
    }
}
