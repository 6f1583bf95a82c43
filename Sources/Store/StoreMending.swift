import Core
import Cryptography

/// Rows that only say what other rows say are made anew at a start where they no longer open: how far each origin
/// reaches, and the state of the whole. Each operation is sealed by itself, so nothing is taken on trust; what cannot
/// be told from them throws, and the store stays as it is.
///
/// Of an origin's row its author's latest seal is lost: this host signs its own anew (`LogWriter.recover`), another's
/// comes with that one's next word, and until then whoever else has the stream passes it on.
struct StoreMending {
    private let database: Database
    private let ring: KeyRing
    private let reader: StoreReader
    /// What was made anew, for the log.
    private(set) var mended: [String] = []

    init(_ database: Database, _ ring: KeyRing) {
        self.database = database
        self.ring = ring
        reader = StoreReader(database: database, ring: ring)
    }

    private struct Record {
        var index: Int64
        /// As its row has it, and as the second list has it: at least one.
        var names: [Origin]
        var sealed: [UInt8]
    }

    mutating func run() throws(RuntimeError) {
        let damaged = try records().filter { record in
            guard let name = record.names.first else { return false }
            return ring.open(record.sealed, as: .origin(record.index, name)) == nil
        }
        let state = try state()
        guard state == nil || !damaged.isEmpty else { return }
        try database.run("BEGIN IMMEDIATE")
        do {
            for record in damaged { try mend(record) }
            try mend(state)
            try database.run("COMMIT")
        } catch {
            // SQLite may have ended it itself.
            if database.isInTransaction { try? database.run("ROLLBACK") }
            throw error
        }
    }

    // MARK: - Origins

    /// Each index of an origin, with the names that the two lists give it.
    private func records() throws(RuntimeError) -> [Record] {
        var records: [Int64: Record] = [:]
        for table in ["origins", "origin_names"] {
            let sealed = table == "origins" ? "sealed" : "x''"
            try database.forEach("SELECT id, node, epoch, \(sealed) FROM \(table)") { row throws(RuntimeError) in
                guard let node = Bytes16(row.blob(1)), let epoch = UInt32(exactly: row.integer(2)) else { return }
                let name = Origin(node: NodeID(node), epoch: epoch)
                var record = records[row.integer(0)] ?? Record(index: row.integer(0), names: [], sealed: [])
                if !record.names.contains(name) { record.names.append(name) }
                if table == "origins" { record.sealed = row.blob(3) }
                records[record.index] = record
            }
        }
        return records.values.sorted { $0.index < $1.index }
    }

    private mutating func mend(_ record: Record) throws(RuntimeError) {
        for name in record.names where ring.open(record.sealed, as: .origin(record.index, name)) != nil {
            return try put(record.index, name, record.sealed)
        }
        for name in record.names {
            guard let row = try counted(record.index, name) else { continue }
            return try put(record.index, name, try ring.seal(row.encoded, as: .origin(record.index, name)))
        }
        throw RuntimeError(
            .corrupt,
            "the store is damaged: how far an origin reaches can neither be read nor counted (row \(record.index)); "
                + "restore a copy of the store, or give another storage_path")
    }

    private mutating func put(_ index: Int64, _ name: Origin, _ sealed: [UInt8]) throws(RuntimeError) {
        for table in ["origins", "origin_names"] {
            try database.run("DELETE FROM \(table) WHERE id = ?", .integer(index))
        }
        let (node, epoch) = (SQLValue.blob(name.node.bytes.bytes), SQLValue.integer(Int64(name.epoch)))
        try database.run(
            "INSERT INTO origins (id, node, epoch, sealed) VALUES (?, ?, ?, ?)", .integer(index), node, epoch,
            .blob(sealed))
        try database.run(
            "INSERT INTO origin_names (id, node, epoch) VALUES (?, ?, ?)", .integer(index), node, epoch)
        mended.append("origin \(name)")
    }

    /// The row as its operations make it; nil where one of them does not open under that name, or is missing.
    private func counted(_ index: Int64, _ name: Origin) throws(RuntimeError) -> OriginRow? {
        // What others depend on is named by their indexes, and their rows may be damaged as well.
        for record in try records() { if let first = record.names.first { reader.assume(first, at: record.index) } }
        reader.assume(name, at: index)
        let base = index << Limits.sequenceBits
        var row = OriginRow(index: index, origin: name)
        var isWhole = true
        do {
            try database.scan(
                "SELECT id, kind, sealed, stream FROM operations WHERE id > ? AND id < ? ORDER BY id", .integer(base),
                .integer(base + 1 << Limits.sequenceBits)
            ) { columns throws(RuntimeError) in
                let stream = try reader.stream(at: columns.integer(3))
                let operation = try reader.operation(
                    columns.integer(0), columns.integer(1), columns.blob(2), stream: stream
                ).operation
                isWhole = operation.dot.sequence == row.sequence + 1 && !operation.isHashLost
                row.append(operation)
                let content =
                    operation.flags.contains(.erased)
                    ? operation.body : SHA256.hash(OperationCodec.encode(operation))
                row.chain = ChainHash(SHA256.hash(row.chain.bytes + content))
                return isWhole
            }
        } catch {
            guard error.code == .corrupt else { throw error }
            return nil
        }
        return isWhole ? row : nil
    }

    // MARK: - The state

    private func state() throws(RuntimeError) -> StoreState? {
        do {
            return try reader.state()
        } catch {
            guard error.code == .corrupt else { throw error }
            return nil
        }
    }

    /// Whatever was mended, the last writer's goodbye does not count: what this host says next it says in a new epoch.
    private mutating func mend(_ known: StoreState?) throws(RuntimeError) {
        var state = known ?? StoreState()
        state.isClean = false
        if known == nil {
            mended.append("the store's state")
            // How many records its key has sealed is not known: a fresh key takes over.
            state.records = Limits.recordsPerKey
            state.operations = try database.first("SELECT COUNT(*) FROM operations") { $0.bits(0) } ?? 0
            state.conversations =
                try database.first("SELECT COUNT(*) FROM streams WHERE owner IS NOT NULL") { $0.bits(0) } ?? 0
        }
        try database.run("UPDATE meta SET state = ? WHERE id = 1", .blob(try ring.seal(state.encoded, as: .state)))
    }
}
