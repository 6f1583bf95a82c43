import Core

/// Writes the tables: the one connection that does, on its own thread.
final class StoreWriter {
    let reader: StoreReader
    let database: Database
    let ring: KeyRing
    private let lock: FileLock?
    let isInMemory: Bool
    let node: NodeID
    let environment: StoreEnvironment
    /// Nil in memory.
    let log: LogSync?
    let fileNumber: UInt64

    // What the tables say, kept in memory; read again after anything went wrong.
    var state: StoreState
    private(set) var origins: [Origin: OriginRow] = [:]
    var streams: [StreamID: (index: Int64, row: StreamRow)] = [:]
    private var owners: [Owner: Int64] = [:]
    private var isStale = false

    /// Nil in memory.
    var sealing: KeyEnvelope?
    let resealing: KeyResealing?
    /// A change of the anchor is not over yet.
    var holdsOldAnchor: Bool
    /// When the current data key was made, in seconds since 1970.
    var keyMade: UInt64
    /// Rows are being sealed anew, and from when on; see ``rewriteSome()``.
    var rewriting: KeyRewriting?
    var rewritingRests: ContinuousClock.Instant?
    /// Keys that are no longer on disk, and in memory until nobody can read an older state of the store any more.
    var destroyed: Set<UInt8> = []

    var origin: Origin?
    /// A commit of this host's own was refused: peers may have what the disk has not.
    var hasRefused = false
    var hasLog = false
    /// Deleted content may still stand in the write-ahead log.
    var mustErase = false
    var emptied: ContinuousClock.Instant?
    /// Transactions that read for long and keep the log from being emptied.
    var longReads = 0
    /// So many pages make a log long.
    var longLog = Limits.storeLogPages

    init(_ opened: StoreFile.Opened, isInMemory: Bool, node: NodeID, environment: StoreEnvironment) throws(RuntimeError)
    {
        database = opened.database
        ring = opened.ring
        lock = opened.lock
        sealing = opened.sealing
        resealing = opened.resealing
        holdsOldAnchor = try opened.resealing?.isUnsettled ?? false
        keyMade = opened.keyMade
        rewriting = opened.ring.versions.count > 1 ? KeyRewriting() : nil
        self.isInMemory = isInMemory
        self.node = node
        self.environment = environment
        log = opened.path.map { LogSync(path: $0, flush: environment.flush) }
        fileNumber = opened.path.map(EpochMark.number) ?? 0
        reader = StoreReader(database: database, ring: ring)
        state = StoreState()
        try refresh()
        // Until the log is emptied the database itself has the older keys.
        (hasLog, mustErase) = (holdsOldAnchor, holdsOldAnchor)
        if !isInMemory { database.countLog() }
        keepKeys()
    }

    // MARK: - End

    /// The last call.
    func close() {
        guard origin != nil, !isInMemory else { return }
        // An unsaid goodbye costs one epoch.
        try? sayGoodbye()
        // What fails now is done at the next start, if the log is left to it.
        if !checkpoint(), log?.failure != nil { try? database.keepLog() }
    }

    private func sayGoodbye() throws(RuntimeError) {
        // A refused commit was counted in memory, and is not in the tables.
        try refreshIfStale()
        state.isClean = !hasRefused && log?.failure == nil
        try write(state)
        failpoint("store.goodbye")
    }

    // MARK: - Commits

    /// Writes all members in one transaction. They outlive the process then, and a power cut once the log is synced.
    /// A member that fails is taken back alone.
    func commit(_ group: [Commit]) -> [Result<Void, RuntimeError>] {
        let results: [Result<Void, RuntimeError>]
        do throws(RuntimeError) {
            if let failure = log?.failure { throw failure }
            if origin == nil { _ = try recover() }
            try refreshIfStale()
            do throws(RuntimeError) {
                try together(group)
                results = group.map { _ in .success(()) }
            } catch {
                giveUp()
                guard group.count > 1 else { throw error }
                try refresh()
                results = try oneByOne(group)
            }
        } catch {
            giveUp()
            results = group.map { _ in .failure(error) }
        }
        hasLog = true
        var mustEraseNow = false
        for (commit, result) in zip(group, results) {
            if case .success = result {
                guard !commit.erasures.isEmpty || !commit.removals.isEmpty else { continue }
                mustErase = true
                if commit.durability == .synced { mustEraseNow = true }
            } else {
                noteRefusal(of: commit)
            }
        }
        if mustErase { emptyLog(now: mustEraseNow) }
        tidyLog()
        return results
    }

    private func together(_ group: [Commit]) throws(RuntimeError) {
        failpoint("store.begin.before")
        try database.run("BEGIN IMMEDIATE")
        failpoint("store.begin.after")
        var touched = Touched()
        for member in group { try apply(member, &touched) }
        try save(touched)
        try write(state)
        try failpointThrowing("store.commit.before")
        try database.run("COMMIT")
        failpoint("store.commit.after")
    }

    private func oneByOne(_ group: [Commit]) throws(RuntimeError) -> [Result<Void, RuntimeError>] {
        try database.run("BEGIN IMMEDIATE")
        var results: [Result<Void, RuntimeError>] = []
        for member in group {
            let before = state
            try database.run("SAVEPOINT member")
            do {
                var touched = Touched()
                try apply(member, &touched)
                try save(touched)
                try database.run("RELEASE member")
                results.append(.success(()))
            } catch {
                guard database.isInTransaction else { throw error }
                try database.run("ROLLBACK TO member")
                try database.run("RELEASE member")
                try refresh()
                state = before
                results.append(.failure(error))
            }
        }
        try write(state)
        try database.run("COMMIT")
        return results
    }

    /// After anything went wrong in a transaction.
    func giveUp() {
        // SQLite may have ended it itself.
        if database.isInTransaction { try? database.run("ROLLBACK") }
        isStale = true
    }

    /// Rows that a transaction has changed in memory and writes at its end, once each.
    private struct Touched {
        var streams: Set<StreamID> = []
        var origins: Set<Origin> = []
    }

    private func save(_ touched: Touched) throws(RuntimeError) {
        for stream in touched.streams.sorted() { try save(stream) }
        for origin in touched.origins.sorted() { try save(origin) }
    }

    private func apply(_ commit: Commit, _ touched: inout Touched) throws(RuntimeError) {
        var origins: Set<Origin> = []
        let prefixes = Dictionary(grouping: commit.prefixes, by: \.dot).mapValues { $0.map(\.prefix.rawValue) }
        var written: Set<Dot> = []
        for operation in commit.operations {
            let id = try place(operation)
            try failpointThrowing("store.put.before")
            try append(operation, id: id, prefixes: prefixes[operation.dot] ?? [])
            failpoint("store.put.after")
            origins.insert(operation.dot.origin)
            touched.streams.insert(operation.stream)
            written.insert(operation.dot)
        }
        for match in commit.prefixes where !written.contains(match.dot) { try add(match) }
        try advance(commit.heads, expecting: origins)
        for seal in commit.seals {
            try take(seal)
            origins.insert(seal.origin)
        }
        touched.origins.formUnion(origins)
        for dot in commit.erasures {
            failpoint("store.erase.before")
            try erase(dot)
            failpoint("store.erase.after")
        }
        for stream in commit.removals where try hide(stream) { touched.streams.insert(stream) }
        for header in commit.conversations {
            try show(header)
            touched.streams.insert(header.stream)
        }
    }

    /// The row number of a new operation, which must be the next of its origin.
    private func place(_ operation: Operation) throws(RuntimeError) -> Int64 {
        let row = try ensure(operation.dot.origin)
        guard operation.dot.sequence == row.sequence + 1, operation.dot.sequence < 1 << UInt64(Limits.sequenceBits)
        else {
            throw RuntimeError(
                .internal, "operation \(operation.dot) does not follow \(row.sequence), the last one in the store")
        }
        origins[operation.dot.origin]?.append(operation)
        return RowNumber.of(operation.dot, index: row.index)
    }

    private func append(_ operation: Operation, id: Int64, prefixes: [UInt64]) throws(RuntimeError) {
        let stream = try ensure(operation.stream)
        let row = OperationRow(operation: operation, prefixes: prefixes)
        try insert(row, id: id, stream: stream)
        for prefix in prefixes { try index(prefix, id: id) }
        streams[operation.stream]?.row.operations += 1
        state.operations += 1
    }

    func insert(_ row: OperationRow, id: Int64, stream: Int64) throws(RuntimeError) {
        try database.run(
            "INSERT INTO operations (id, stream, kind, sealed) VALUES (?, ?, ?, ?)", .integer(id),
            .integer(stream), .integer(Int64(row.operation.kind.rawValue)), .blob(try sealed(row)))
    }

    func sealed(_ row: OperationRow) throws(RuntimeError) -> [UInt8] {
        state.records += 1
        let content = try row.encoded { origin throws(RuntimeError) in try ensure(origin).index }
        let operation = row.operation
        return try ring.seal(content, as: .operation(operation.dot, operation.kind, operation.stream))
    }

    private func index(_ prefix: UInt64, id: Int64) throws(RuntimeError) {
        try database.run(
            "INSERT OR IGNORE INTO prefixes (hash, operation) VALUES (?, ?)", .bits(prefix), .integer(id))
    }

    /// A prefix of an operation that is here already.
    private func add(_ match: PrefixMatch) throws(RuntimeError) {
        guard let origin = origins[match.dot.origin], match.dot.sequence <= origin.sequence,
            var row = try reader.operation(at: RowNumber.of(match.dot, index: origin.index))
        else { throw RuntimeError(.internal, "a prefix leads to \(match.dot), which is not in the store") }
        let id = RowNumber.of(match.dot, index: origin.index)
        guard !row.operation.flags.contains(.erased), !row.prefixes.contains(match.prefix.rawValue) else { return }
        row.prefixes.append(match.prefix.rawValue)
        try replace(row, id: id)
        try index(match.prefix.rawValue, id: id)
    }

    private func replace(_ row: OperationRow, id: Int64) throws(RuntimeError) {
        try database.run("UPDATE operations SET sealed = ? WHERE id = ?", .blob(try sealed(row)), .integer(id))
    }

    private func advance(_ heads: [LogHead], expecting touched: Set<Origin>) throws(RuntimeError) {
        for head in heads {
            let row = try ensure(head.origin)
            guard head.sequence <= row.sequence else {
                throw RuntimeError(
                    .internal, "a commit claims \(head.origin) up to \(head.sequence) without the operations")
            }
            if head.sequence == row.sequence { origins[head.origin]?.chain = head.chain }
        }
        for origin in touched where !heads.contains(where: { $0.origin == origin }) {
            throw RuntimeError(.internal, "a commit has operations of \(origin) but not its head")
        }
    }

    /// Keeps an author's word for its stream, and of the earlier ones those that divide it.
    private func take(_ seal: BatchSeal) throws(RuntimeError) {
        guard seal.author.count == BatchSeal.authorBytes, seal.signature.count == BatchSeal.signatureBytes,
            seal.sequence <= origins[seal.origin]?.sequence ?? 0
        else {
            throw RuntimeError(.internal, "a seal of \(seal.origin) up to \(seal.sequence) covers what is not here")
        }
        guard let index = origins[seal.origin]?.index, let kept = origins[seal.origin]?.take(seal) else { return }
        let dot = Dot(origin: kept.origin, sequence: kept.sequence)
        state.records += 1
        try database.run(
            "INSERT OR REPLACE INTO seals (id, sealed) VALUES (?, ?)", .integer(RowNumber.of(dot, index: index)),
            .blob(try ring.seal(kept.signature, as: .seal(dot))))
    }

    private func show(_ header: ConversationHeader) throws(RuntimeError) {
        _ = try ensure(header.stream)
        if streams[header.stream]?.row.header == nil { state.conversations += 1 }
        streams[header.stream]?.row.header = header
    }

    /// Something rarer than a commit, written as a whole or not at all; on disk when it returns.
    func transaction<Value>(_ body: () throws(RuntimeError) -> Value) throws(RuntimeError) -> Value {
        if origin == nil { _ = try recover() }
        try refreshIfStale()
        do {
            try database.run("BEGIN IMMEDIATE")
            let value = try body()
            try write(state)
            try database.run("COMMIT")
            hasLog = true
            try log?.sync()
            return value
        } catch {
            giveUp()
            throw error
        }
    }

    // MARK: - Rows

    private func ensure(_ origin: Origin) throws(RuntimeError) -> OriginRow {
        if let row = origins[origin] { return row }
        let index = (origins.values.map(\.index).max() ?? 0) + 1
        guard index < Limits.storeOrigins else { throw RuntimeError(.internal, "the store knows too many origins") }
        let row = OriginRow(index: index, origin: origin)
        state.records += 1
        try database.run(
            "INSERT INTO origins (id, node, epoch, sealed) VALUES (?, ?, ?, ?)", .integer(index),
            .blob(origin.node.bytes.bytes), .integer(Int64(origin.epoch)),
            .blob(try ring.seal(row.encoded, as: .origin(index, origin))))
        try database.run(
            "INSERT OR REPLACE INTO origin_names (id, node, epoch) VALUES (?, ?, ?)", .integer(index),
            .blob(origin.node.bytes.bytes), .integer(Int64(origin.epoch)))
        origins[origin] = row
        return row
    }

    private func save(_ origin: Origin) throws(RuntimeError) {
        guard let row = origins[origin] else { return }
        state.records += 1
        try database.run(
            "UPDATE origins SET sealed = ? WHERE id = ?",
            .blob(try ring.seal(row.encoded, as: .origin(row.index, origin))),
            .integer(row.index))
    }

    /// The index of a stream's row, read into memory; nil for one never seen.
    func lookUp(_ stream: StreamID) throws(RuntimeError) -> Int64? {
        if let known = streams[stream] { return known.index }
        guard let found = try reader.find(stream) else { return nil }
        streams[stream] = found
        return found.index
    }

    func ensure(_ stream: StreamID) throws(RuntimeError) -> Int64 {
        if let index = try lookUp(stream) { return index }
        try database.run(
            "INSERT INTO streams (fingerprint, sealed) VALUES (?, x'')", .blob(reader.fingerprint(of: stream)))
        let index = database.lastInsertedRow
        streams[stream] = (index, StreamRow(stream: stream))
        return index
    }

    func save(_ stream: StreamID) throws(RuntimeError) {
        guard let (index, row) = streams[stream] else { return }
        state.records += 1
        let record = SQLValue.blob(try ring.seal(row.encoded, as: .stream(index)))
        if let header = row.header {
            try database.run(
                "UPDATE streams SET sealed = ?, owner = ?, updated = ? WHERE id = ?", record,
                .integer(try ensure(header.owner)), .bits(header.updated.rawValue), .integer(index))
        } else {
            try database.run(
                "UPDATE streams SET sealed = ?, owner = NULL, updated = NULL WHERE id = ?", record, .integer(index))
        }
    }

    private func ensure(_ owner: Owner) throws(RuntimeError) -> Int64 {
        if let index = owners[owner] { return index }
        let fingerprint = reader.fingerprint(of: owner)
        var index = try database.first("SELECT id FROM owners WHERE fingerprint = ?", .blob(fingerprint)) {
            $0.integer(0)
        }
        if index == nil {
            try database.run("INSERT INTO owners (fingerprint) VALUES (?)", .blob(fingerprint))
            index = database.lastInsertedRow
        }
        owners[owner] = index
        return index ?? 0
    }

    func write(_ state: StoreState) throws(RuntimeError) {
        try database.run("UPDATE meta SET state = ? WHERE id = 1", .blob(try ring.seal(state.encoded, as: .state)))
    }

    // MARK: - Memory

    func refreshIfStale() throws(RuntimeError) {
        if isStale { try refresh() }
        // Between groups, so that no row in use is forgotten.
        if streams.count > Limits.storeCachedRows { streams.removeAll(keepingCapacity: true) }
        if owners.count > Limits.storeCachedRows { owners.removeAll(keepingCapacity: true) }
    }

    private func refresh() throws(RuntimeError) {
        reader.forget()
        streams.removeAll(keepingCapacity: true)
        owners.removeAll(keepingCapacity: true)
        origins.removeAll(keepingCapacity: true)
        for row in try reader.allOrigins() { origins[row.origin] = row }
        state = try reader.state()
        isStale = false
    }
}
