package import Core

/// The replicated log across hosts, without I/O: what this host writes goes to everyone it is linked with, what it
/// lacks is fetched from whoever has it (swarm.md §2, §5). It owns the ``OperationLog``; its shell owns the disk and
/// the links.
///
/// The shell's part: perform the effects in their order; answer each ``Effect/commit(_:)`` with
/// ``Event/stored(_:)`` or ``Event/refused(_:)``, each ``Effect/read(_:)`` with ``Event/read(_:_:)``; tick every 20 ms.
/// Messages are whole: ``LinkChannel`` byte included, both ways.
package struct Replication: Sendable {
    package enum Event: Sendable {
        /// A fresh link carries all messages with this peer from now on; an earlier one is over.
        case linked(NodeID)
        case unlinked(NodeID)
        case received([UInt8], from: NodeID)
        /// The store has it, by the number of the ``Write``.
        case stored(UInt64)
        /// The store refused it; nothing of it, or all of it, may be on disk.
        case refused(UInt64)
        /// What the store has above the place that was asked for; nil where it cannot give a sealed batch.
        case read(Read, OperationBatch?)
        /// A piece of a snapshot, in the snapshot's order.
        case snapshot([OperationBatch], from: NodeID)
        /// All of it is here, or it could not be had.
        case snapshotEnded(from: NodeID, isWhole: Bool)
        case ticked
    }

    package enum Effect: Sendable {
        case send([UInt8], to: NodeID)
        /// Write this to the store, with the rows of the views that follow. At most one own and one other write are on
        /// their way at a time.
        case commit(Write)
        /// Read a batch for a peer.
        case read(Read)
        /// This host is too far behind to ask for operations one batch after the other.
        case fetchSnapshot(from: NodeID)
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
    }

    /// A peer asks for the operations of `origin` above `after`.
    package struct Read: Hashable, Sendable {
        package var peer: NodeID
        package var origin: Origin
        package var after: UInt64
    }

    /// What an operator, a metric or a waiting client wants to know.
    package enum Notice: Hashable, Sendable {
        /// A peer has this host's stream up to here in its store.
        case acknowledged(Origin, upTo: UInt64, by: NodeID)
        /// A batch is not what its author signed; it was thrown away.
        case forged(Origin, sequence: UInt64, by: NodeID)
        /// An author signed two different streams; nothing more of it is taken.
        case equivocated(Equivocation)
        /// Equal vectors, different content: must never happen.
        case diverged(NodeID, origin: Origin?)
        case clockAhead(NodeID, milliseconds: UInt64)
        case pulled(NodeID)
        /// Not a message that this version knows, or one that breaks the rules.
        case malformed(NodeID, String)
        /// This host's stream ended and a new epoch began: the disk refused, or a peer holds more of it than the disk.
        case abandonedEpoch(Origin)
    }

    /// Two words of one author that contradict each other: proof, with the chains that they cover.
    package struct Equivocation: Hashable, Sendable {
        package var ours: LogHead
        package var theirs: LogHead
        /// Nil where ours covers more than the place of the contradiction.
        package var ourSeal: BatchSeal?
        package var theirSeal: BatchSeal
    }

    /// How this host and one peer stand.
    package struct Lag: Hashable, Sendable {
        package var peer: NodeID
        /// Operations it has and this host has not; and the other way round.
        package var behind: Int
        package var ahead: Int
        /// Its queue is full: it gets nothing until it drains, then asks for what it lacks.
        package var isDemoted: Bool
    }

    /// What this host has applied, its own stream included.
    package private(set) var log: OperationLog

    /// - Parameter seed: for the jitter of keepalives and the choice among peers.
    package init(_ recovered: RecoveredLog, seals: SealScheme, seed: UInt64) {
        log = OperationLog(recovered)
    }

    /// - Parameters:
    ///   - now: since the start, monotonic.
    ///   - wallClock: milliseconds since 1970.
    ///   - queued: bytes that wait on the link with a peer.
    package mutating func step(
        _ event: Event, now: Duration, wallClock: UInt64, queued: (NodeID) -> Int
    ) -> [Effect] { [] }

    /// Gives each draft the next place in this host's stream, signs, and pushes to the peers. A draft may depend on an
    /// earlier one of the same call: ``OperationLog/nextDot(after:)`` tells which dot that will be. Throws what the
    /// signing throws; nothing is numbered then.
    package mutating func propose(
        _ drafts: [OperationLog.Draft], now: Duration, wallClock: UInt64, queued: (NodeID) -> Int
    ) throws(RuntimeError) -> (operations: [Operation], effects: [Effect]) { ([], []) }

    /// What this host's store holds: what it tells its peers.
    package var vector: VersionVector { log.applied }

    /// Every peer that is linked, ascending.
    package var lags: [Lag] { [] }

    /// The peers, linked now or earlier, whose stores hold `dot`, as far as they have said; ascending.
    package func holders(of dot: Dot) -> [NodeID] { [] }
}
