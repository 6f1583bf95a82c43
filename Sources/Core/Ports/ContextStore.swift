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
    /// The latest of each origin, ascending by it. One may stand below its origin's head: the operations above it
    /// came without their seal, or were written before there were seals.
    package var seals: [BatchSeal]
    /// The latest of this host's own, and of the others' no further ahead of the wall clock than a
    /// ``HybridClock`` follows.
    package var latestTimestamp: HybridTimestamp

    package init(
        origin: Origin, heads: [LogHead], seals: [BatchSeal] = [], latestTimestamp: HybridTimestamp
    ) {
        self.origin = origin
        self.heads = heads
        self.seals = seals
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

/// A conversation and what its turns take in the store.
package struct ConversationSize: Hashable, Sendable {
    package var header: ConversationHeader
    package var bytes: Int

    package init(header: ConversationHeader, bytes: Int) {
        self.header = header
        self.bytes = bytes
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

/// Sizes of the store, for metrics and `/v1/mcp/peers`.
package struct StoreStatistics: Hashable, Sendable {
    package var conversations: Int
    package var operations: Int
    /// Bytes on disk, write-ahead log included; 0 in memory.
    package var bytes: Int
    /// Conversations that this host has let expire since its start; nil where none ever do.
    package var expired: Int?

    package init(conversations: Int, operations: Int, bytes: Int) {
        self.conversations = conversations
        self.operations = operations
        self.bytes = bytes
    }
}

/// What a look at some rows of the log has found.
package struct ScrubbedRows: Sendable {
    /// An operation that is as it was written.
    package struct Sound: Sendable {
        package var dot: Dot
        package var stream: StreamID
        /// SHA-256 of the operation as its author wrote it, also where its content is gone.
        package var hash: [UInt8]

        package init(dot: Dot, stream: StreamID, hash: [UInt8]) {
            self.dot = dot
            self.stream = stream
            self.hash = hash
        }
    }

    /// One whose row is gone or no longer opens.
    package struct Damaged: Hashable, Sendable {
        package var dot: Dot
        /// Nil where that cannot be told any more.
        package var stream: StreamID?

        package init(dot: Dot, stream: StreamID?) {
            self.dot = dot
            self.stream = stream
        }
    }

    package var sound: [Sound] = []
    package var damaged: [Damaged] = []
    /// The place of the last one; nil at the end of the log.
    package var next: Dot?

    package init() {}
}

/// Where operations and their views are kept. Every call may throw ``RuntimeError``: `.wrongKey` while the store is
/// locked, `.corrupt`, `.system`.
package protocol ContextStore: Sendable {
    /// What the log goes on from. Decides the origin of this start (swarm.md §1).
    func recover() async throws -> RecoveredLog
    /// Writes all of it or nothing; ``Commit/durability`` says when it returns. Synced callers share one fsync, and
    /// relaxed ones do not wait for it.
    func commit(_ commit: Commit) async throws
    /// The operations of one stream, ascending by origin and sequence; none for an unknown stream.
    func operations(of stream: StreamID) async throws -> [Operation]
    /// The operations of one origin with a sequence above `sequence`, ascending, at most `limit`.
    func operations(of origin: Origin, after sequence: UInt64, limit: Int) async throws -> [Operation]
    /// The operations of one origin above `sequence` up to a seal, ready to travel: as many as
    /// ``Limits/batchOperations`` and ``Limits/batchBytes`` allow, or those up to the first seal where even they are
    /// more. Nil where no seal stands above `sequence`.
    func batch(of origin: Origin, after sequence: UInt64) async throws -> OperationBatch?
    /// Looks at about `rows` rows of the log, origin by origin, from the one after `place` on: which still open as they
    /// were written, and which are damaged or gone.
    func scrub(after place: Dot?, rows: Int) async throws -> ScrubbedRows
    /// Puts those of `operations` in place whose rows are damaged, and leaves all others alone. The caller has proven
    /// them by their origin's chain. Returns which were put in place.
    func repair(_ operations: [Operation]) async throws -> [Dot]
    /// Once every operation is there again: the conversations that count another number of them count afresh, and the
    /// rows of the view that no longer open are taken from the operations' by the caller, who gets their streams.
    func recount() async throws -> [StreamID]
    /// What can still be read of a conversation; of a row that no longer opens its place in the log alone, without a
    /// body. For deleting what is damaged.
    func remains(of stream: StreamID) async throws -> [Operation]
    func conversation(_ stream: StreamID) async throws -> ConversationHeader?
    /// The conversations of one owner, the latest first.
    func conversations(of owner: Owner, limit: Int) async throws -> [ConversationHeader]
    /// The one of `prefixes` (longest history first) that is known.
    func firstMatch(of prefixes: [PrefixHash]) async throws -> PrefixMatch?
    func statistics() async throws -> StoreStatistics
    /// The conversations, of all owners, that were last used the longest ago, the oldest first.
    func oldest(limit: Int) async throws -> [ConversationSize]
    /// What all conversations take, deleted ones left out. Reads all of the log.
    func contentBytes() async throws -> Int
    /// Checkpoints and closes; every later call throws.
    func close() async
}
