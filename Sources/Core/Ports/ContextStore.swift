/// A 32-byte SHA-256 that covers all of an origin's operations up to one of them (swarm.md §2).
package struct ChainHash: Hashable, Sendable {
    package let bytes: [UInt8]

    package init(_ bytes: [UInt8]) { self.bytes = bytes }
    /// Before the first operation.
    package static let empty = ChainHash([UInt8](repeating: 0, count: 32))
}

/// How far an origin's stream reaches in the store.
package struct LogHead: Hashable, Sendable {
    package var origin: Origin
    package var sequence: UInt64
    package var chain: ChainHash

    package init(origin: Origin, sequence: UInt64, chain: ChainHash) {
        self.origin = origin
        self.sequence = sequence
        self.chain = chain
    }
}

/// What the log goes on from after a start.
package struct RecoveredLog: Sendable {
    /// The writing stream of this start.
    package var origin: Origin
    /// All origins, this one included where it has written.
    package var heads: [LogHead]
    package var latestTimestamp: HybridTimestamp

    package init(origin: Origin, heads: [LogHead], latestTimestamp: HybridTimestamp) {
        self.origin = origin
        self.heads = heads
        self.latestTimestamp = latestTimestamp
    }
}

/// The view's row of one conversation.
package struct ConversationHeader: Hashable, Sendable {
    package var stream: StreamID
    package var id: ConversationID
    package var owner: Owner
    package var created: HybridTimestamp
    package var updated: HybridTimestamp
    /// Turns, of both sides.
    package var turns: Int

    package init(
        stream: StreamID, id: ConversationID, owner: Owner, created: HybridTimestamp, updated: HybridTimestamp,
        turns: Int
    ) {
        self.stream = stream
        self.id = id
        self.owner = owner
        self.created = created
        self.updated = updated
        self.turns = turns
    }
}

/// A keyed hash of an owner and the first n messages of a chain: how a client's resent history is recognised.
package struct PrefixHash: Hashable, Sendable {
    package let rawValue: UInt64
    package init(rawValue: UInt64) { self.rawValue = rawValue }
}

/// Where a recognised history ends.
package struct PrefixMatch: Hashable, Sendable {
    package var prefix: PrefixHash
    package var stream: StreamID
    /// The last turn of the history.
    package var dot: Dot

    package init(prefix: PrefixHash, stream: StreamID, dot: Dot) {
        self.prefix = prefix
        self.stream = stream
        self.dot = dot
    }
}

/// One atomic write: operations, and the rows of the views that follow from them.
package struct Commit: Sendable {
    package var operations: [Operation]
    /// The heads of the operations' origins after them.
    package var heads: [LogHead]
    /// Rows to insert or replace, by stream.
    package var conversations: [ConversationHeader]
    package var prefixes: [PrefixMatch]
    /// The authors' word for the operations; the store keeps the latest of each origin, and earlier ones at distances
    /// that let a part of a stream travel.
    package var seals: [BatchSeal]
    /// Whether it must outlive a power cut before the call returns. What came from a peer need not: the peer has it.
    package var durability: Durability
    /// Streams whose content is removed: bodies of their operations become ``Operation/Flags/erased``, rows of the
    /// views go.
    package var deletions: [StreamID]

    package enum Durability: Hashable, Sendable {
        /// Returns when it is on disk (fsync).
        case synced
        /// Returns when it would outlive the process; the disk follows.
        case relaxed
    }

    package init(
        operations: [Operation] = [], heads: [LogHead] = [], conversations: [ConversationHeader] = [],
        prefixes: [PrefixMatch] = [], seals: [BatchSeal] = [], durability: Durability = .synced,
        deletions: [StreamID] = []
    ) {
        self.operations = operations
        self.heads = heads
        self.conversations = conversations
        self.prefixes = prefixes
        self.seals = seals
        self.durability = durability
        self.deletions = deletions
    }
}

/// Sizes of the store, for metrics and `/v1/mcp/peers`.
package struct StoreStatistics: Hashable, Sendable {
    package var conversations: Int
    package var operations: Int
    /// Bytes on disk, write-ahead log included; 0 in memory.
    package var bytes: Int

    package init(conversations: Int, operations: Int, bytes: Int) {
        self.conversations = conversations
        self.operations = operations
        self.bytes = bytes
    }
}

/// Where operations and their views are kept. Every call may throw ``RuntimeError``: `.wrongKey` while the store is
/// locked, `.corrupt`, `.system`.
package protocol ContextStore: Sendable {
    /// What the log goes on from. Decides the origin of this start (swarm.md §1).
    func recover() async throws -> RecoveredLog
    /// Writes all of it or nothing. Returns when it is on disk (fsync); waiting callers share one.
    func commit(_ commit: Commit) async throws
    /// The operations of one stream, ascending by origin and sequence; none for an unknown stream.
    func operations(of stream: StreamID) async throws -> [Operation]
    /// The operations of one origin with a sequence above `sequence`, ascending, at most `limit`.
    func operations(of origin: Origin, after sequence: UInt64, limit: Int) async throws -> [Operation]
    func conversation(_ stream: StreamID) async throws -> ConversationHeader?
    /// The conversations of one owner, the latest first.
    func conversations(of owner: Owner, limit: Int) async throws -> [ConversationHeader]
    /// The one of `prefixes` (longest history first) that is known.
    func firstMatch(of prefixes: [PrefixHash]) async throws -> PrefixMatch?
    func statistics() async throws -> StoreStatistics
    /// Checkpoints and closes; every later call throws.
    func close() async
}
