package import Core
package import Cryptography

/// The ``ContextStore`` on SQLite: one thread writes, a few read, and everything that says something is sealed
/// (swarm.md §12). On disk in clear: how many rows there are, how long they are, when a conversation was last used,
/// what kind an operation is and which host wrote it.
package final class SQLiteContextStore: ContextStore {
    package enum Location: Sendable {
        /// The database's path. Its folder is made where missing; beside it lie SQLite's log and a lock file.
        case file(String)
        /// Ends with the process. The key does not matter.
        case memory
    }

    private enum Access: Sendable {
        case open(StoreThreads)
        case refused(RuntimeError)
    }

    private let access: Access

    private init(_ access: Access) { self.access = access }

    deinit {
        if case .open(let threads) = access { threads.finish() }
    }

    /// Opens the store of this host, or makes it. A store that the key does not open stays untouched, and what is
    /// returned ``isLocked``: every call on it throws `.wrongKey`.
    ///
    /// - Parameters:
    ///   - hostname: bound into a device key.
    ///   - identityFolder: where the key of `node` lies; a mark there tells a store that was put back from a copy.
    ///   - anchorFolder: beside the device key; what lies there makes copies of the file worthless once something was
    ///     deleted.
    ///
    /// Throws ``RuntimeError``: `.corrupt` for a file that is no store or damaged, `.configuration` for a newer
    /// format, both left untouched; `.unavailable` with ``RuntimeError/isStoreInUse`` while another instance has it;
    /// `.system` where the disk refuses.
    package static func open(
        _ location: Location, key: StoreKey, node: NodeID, hostname: String, identityFolder: String? = nil,
        anchorFolder: String? = nil
    ) async throws -> SQLiteContextStore {
        var environment = StoreEnvironment.current()
        environment.identityFolder = identityFolder
        environment.anchorFolder = anchorFolder
        return try await open(location, key: key, node: node, hostname: hostname, environment: environment)
    }

    static func open(
        _ location: Location, key: StoreKey, node: NodeID, hostname: String, environment: StoreEnvironment
    ) async throws -> SQLiteContextStore {
        do {
            let threads = try await StoreThreads.start(
                location, key: key, node: node, hostname: hostname, environment: environment)
            return SQLiteContextStore(.open(threads))
        } catch let error as RuntimeError where error.code == .wrongKey {
            return .refusing(error)
        }
    }

    /// A store that answers every call with `error`, for a daemon that goes on without one.
    package static func refusing(_ error: RuntimeError) -> SQLiteContextStore { SQLiteContextStore(.refused(error)) }

    /// Whether the key does not open the store.
    package var isLocked: Bool { refusal?.code == .wrongKey }

    /// Why the store answers no call, if so.
    package var refusal: RuntimeError? {
        if case .refused(let error) = access { error } else { nil }
    }

    /// Rows that no longer opened at the start and were made anew from others, in words.
    package var mended: [String] {
        if case .open(let threads) = access { threads.mended } else { [] }
    }

    /// A secret of this store for another purpose, the same at every start; random where the store refuses.
    package func key(label: String) throws(RuntimeError) -> SymmetricKey {
        if case .open(let threads) = access { return try threads.ring.key(label: label) }
        do {
            return try SymmetricKey(random: AESGCM.keyBytes)
        } catch {
            throw RuntimeError(.system, "no random bytes can be had", cause: error)
        }
    }

    // MARK: - ContextStore

    package func recover() async throws -> RecoveredLog {
        try await threads.write { writer throws(RuntimeError) in try writer.recover() }
    }

    package func commit(_ commit: Commit) async throws { try await threads.commit(commit) }

    package func operations(of stream: StreamID) async throws -> [Operation] {
        try await threads.read { reader throws(RuntimeError) in try reader.operations(of: stream) }
    }

    package func operations(of origin: Origin, after sequence: UInt64, limit: Int) async throws -> [Operation] {
        try await threads.read { reader throws(RuntimeError) in
            try reader.operations(of: origin, after: sequence, limit: limit)
        }
    }

    package func batch(of origin: Origin, after sequence: UInt64) async throws -> OperationBatch? {
        try await threads.read { reader throws(RuntimeError) in try reader.batch(of: origin, after: sequence) }
    }

    package func scrub(after place: Dot?, rows: Int) async throws -> ScrubbedRows {
        try await threads.read { reader throws(RuntimeError) in try reader.scrub(after: place, rows: rows) }
    }

    package func recount() async throws -> [StreamID] {
        let miscounted = try await threads.read { reader throws(RuntimeError) in try reader.miscounted() }
        guard !miscounted.isEmpty else { return [] }
        return try await threads.write { writer throws(RuntimeError) in try writer.recount() }
    }

    package func remains(of stream: StreamID) async throws -> [Operation] {
        try await threads.read { reader throws(RuntimeError) in try reader.remains(of: stream) }
    }

    package func repair(_ operations: [Operation]) async throws -> [Dot] {
        try await threads.write { writer throws(RuntimeError) in try writer.repair(operations) }
    }

    package func conversation(_ stream: StreamID) async throws -> ConversationHeader? {
        try await threads.read { reader throws(RuntimeError) in try reader.conversation(stream) }
    }

    package func conversations(of owner: Owner, limit: Int) async throws -> [ConversationHeader] {
        try await threads.read { reader throws(RuntimeError) in
            try reader.conversations(of: owner, limit: limit)
        }
    }

    package func firstMatch(of prefixes: [PrefixHash]) async throws -> PrefixMatch? {
        try await threads.read { reader throws(RuntimeError) in try reader.firstMatch(of: prefixes) }
    }

    package func statistics() async throws -> StoreStatistics {
        let state = try await threads.read { reader throws(RuntimeError) in try reader.state() }
        return StoreStatistics(
            conversations: Int(clamping: state.conversations), operations: Int(clamping: state.operations),
            bytes: try await threads.bytes())
    }

    package func oldest(limit: Int) async throws -> [ConversationSize] {
        try await threads.read { reader throws(RuntimeError) in try reader.oldest(limit: limit) }
    }

    package func contentBytes() async throws -> Int {
        try await threads.read { reader throws(RuntimeError) in try reader.contentBytes() }
    }

    package func close() async {
        if case .open(let threads) = access { await threads.close() }
    }

    var threads: StoreThreads {
        get throws {
            switch access {
            case .open(let threads): return threads
            case .refused(let error): throw error
            }
        }
    }
}
