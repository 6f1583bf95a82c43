import Core

/// Writes the tables: the one connection that does, on its own thread.
final class StoreWriter {
    let reader: StoreReader
    let database: Database
    private let ring: KeyRing
    private let lock: FileLock?
    private let isInMemory: Bool
    private let node: NodeID
    private let environment: StoreEnvironment

    // What the tables say, kept in memory; read again after anything went wrong.
    var state: StoreState
    private(set) var origins: [Origin: OriginRow] = [:]
    var streams: [StreamID: (index: Int64, row: StreamRow)] = [:]
    private var owners: [Owner: Int64] = [:]
    private var isStale = false

    private var origin: Origin?
    private var hasLog = false
    var mustErase = false

    init(_ opened: StoreFile.Opened, isInMemory: Bool, node: NodeID, environment: StoreEnvironment) throws(RuntimeError)
    {
        database = opened.database
        ring = opened.ring
        lock = opened.lock
        self.isInMemory = isInMemory
        self.node = node
        self.environment = environment
        reader = StoreReader(database: database, ring: ring)
        state = StoreState()
        try refresh()
    }

    // MARK: - Start and end

    /// Decides this start's origin (swarm.md §1), and notes that a writer is at work.
    func recover() throws(RuntimeError) -> RecoveredLog {
        try refreshIfStale()
        if let origin { return recovered(as: origin) }
        let known = origins.keys.filter { $0.node == node }.map(\.epoch).max() ?? 0
        let last = max(known, state.node == node ? state.epoch : 0)
        let isFirst = state.epoch == 0
        // After a power cut the disk may have kept less than it promised.
        let mayHaveLost = !state.isClean && state.bootID != environment.bootID
        let epoch: UInt32
        if isInMemory {
            // Nothing will tell the next start which epochs were used, so the clock does.
            epoch = UInt32(clamping: environment.seconds)
        } else if isFirst || state.node != node || mayHaveLost || last == 0 {
            guard last < UInt32.max else { throw RuntimeError(.corrupt, "this host has used up its epochs") }
            epoch = last + 1
        } else {
            epoch = last
        }
        var next = state
        next.node = node
        next.epoch = epoch
        next.isClean = false
        next.bootID = environment.bootID
        try write(next)
        state = next
        hasLog = true
        let origin = Origin(node: node, epoch: epoch)
        self.origin = origin
        return recovered(as: origin)
    }

    private func recovered(as origin: Origin) -> RecoveredLog {
        let heads = origins.values.filter { $0.sequence > 0 }.map(\.head).sorted { $0.origin < $1.origin }
        var clock = HybridClock(latest: HybridTimestamp(rawValue: 0))
        for row in origins.values {
            // A peer's clock may be days ahead: what we would not have followed then is not followed now either.
            let wall = row.origin.node == node ? row.latest.milliseconds : environment.seconds &* 1_000
            clock.observe(row.latest, milliseconds: wall)
        }
        return RecoveredLog(
            origin: origin, heads: heads, seals: origins.values.compactMap(\.seal).sorted { $0.origin < $1.origin },
            latestTimestamp: clock.latest)
    }

    /// Empties the write-ahead log once nothing is written for a while.
    func rest() {
        guard hasLog, !isInMemory else { return }
        // What cannot be done now is done at the next rest; nothing is lost by waiting.
        guard let done = try? database.checkpoint(), done else { return }
        hasLog = false
        guard mustErase else { return }
        mustErase = false
        // The freed pages were overwritten already; this only gives their room back.
        try? database.run("PRAGMA incremental_vacuum(1000)")
        _ = try? database.checkpoint()
    }

    /// The last call.
    func close() {
        guard origin != nil, !isInMemory else { return }
        state.isClean = true
        // Unsaid goodbyes cost one epoch number after the next boot.
        try? write(state)
        _ = try? database.checkpoint()
    }

    // MARK: - Commits

    /// Writes all members in one transaction: one fsync. A member that fails is taken back alone.
    func commit(_ group: [Commit]) -> [Result<Void, RuntimeError>] {
        var results: [Result<Void, RuntimeError>] = []
        do {
            if origin == nil { _ = try recover() }
            try refreshIfStale()
            try database.run("BEGIN IMMEDIATE")
            for member in group { results.append(try one(member, of: group.count)) }
            try database.run(
                "UPDATE meta SET state = ? WHERE id = 1", .blob(try ring.seal(state.encoded, as: .state)))
            try database.run("COMMIT")
        } catch {
            // SQLite may have ended the transaction itself.
            if database.isInTransaction { try? database.run("ROLLBACK") }
            isStale = true
            return group.indices.map { index in
                // A member that failed by itself keeps its own reason.
                if index < results.count, case .failure = results[index] { return results[index] }
                return .failure(error)
            }
        }
        hasLog = true
        if zip(group, results).contains(where: { commit, result in
            if case .success = result { !commit.erasures.isEmpty || !commit.removals.isEmpty } else { false }
        }) {
            emptyLog()
        }
        return results
    }

    /// One member within the group's transaction. Throws what ends the whole transaction.
    private func one(_ member: Commit, of count: Int) throws(RuntimeError) -> Result<Void, RuntimeError> {
        if count == 1 {
            try apply(member)
            return .success(())
        }
        let before = state
        try database.run("SAVEPOINT member")
        do {
            try apply(member)
            try database.run("RELEASE member")
            return .success(())
        } catch {
            guard database.isInTransaction else { throw error }
            try database.run("ROLLBACK TO member")
            try database.run("RELEASE member")
            try refresh()
            state = before
            return .failure(error)
        }
    }

    private func apply(_ commit: Commit) throws(RuntimeError) {
        var touchedStreams: Set<StreamID> = []
        var touchedOrigins: Set<Origin> = []
        let prefixes = Dictionary(grouping: commit.prefixes, by: \.dot).mapValues { $0.map(\.prefix.rawValue) }
        var written: Set<Dot> = []
        for operation in commit.operations {
            let id = try place(operation)
            try append(operation, id: id, prefixes: prefixes[operation.dot] ?? [])
            touchedOrigins.insert(operation.dot.origin)
            touchedStreams.insert(operation.stream)
            written.insert(operation.dot)
        }
        for match in commit.prefixes where !written.contains(match.dot) { try add(match) }
        try advance(commit.heads, expecting: touchedOrigins)
        for seal in commit.seals {
            try take(seal)
            touchedOrigins.insert(seal.origin)
        }
        for dot in commit.erasures { try erase(dot) }
        for stream in commit.removals where try hide(stream) { touchedStreams.insert(stream) }
        for header in commit.conversations {
            try show(header)
            touchedStreams.insert(header.stream)
        }
        for stream in touchedStreams.sorted() { try save(stream) }
        for origin in touchedOrigins.sorted() { try save(origin) }
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
        try database.run(
            "INSERT INTO operations (id, stream, kind, sealed) VALUES (?, ?, ?, ?)", .integer(id),
            .integer(stream), .integer(Int64(operation.kind.rawValue)), .blob(try sealed(row)))
        for prefix in prefixes { try index(prefix, id: id) }
        streams[operation.stream]?.row.operations += 1
        state.operations += 1
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

    func replace(_ row: OperationRow, id: Int64) throws(RuntimeError) {
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

    /// Something rarer than a commit, written as a whole or not at all.
    func transaction<Value>(_ body: () throws(RuntimeError) -> Value) throws(RuntimeError) -> Value {
        if origin == nil { _ = try recover() }
        try refreshIfStale()
        do {
            try database.run("BEGIN IMMEDIATE")
            let value = try body()
            try write(state)
            try database.run("COMMIT")
            hasLog = true
            return value
        } catch {
            // SQLite may have ended the transaction itself.
            if database.isInTransaction { try? database.run("ROLLBACK") }
            isStale = true
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

    private func save(_ stream: StreamID) throws(RuntimeError) {
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

    private func write(_ state: StoreState) throws(RuntimeError) {
        try database.run("UPDATE meta SET state = ? WHERE id = 1", .blob(try ring.seal(state.encoded, as: .state)))
    }

    // MARK: - Memory

    private func refreshIfStale() throws(RuntimeError) {
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
