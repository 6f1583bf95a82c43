import Core

/// Reads the tables over one connection and opens what is sealed. It belongs to that connection's thread.
final class StoreReader {
    let database: Database
    let ring: KeyRing
    private var origins: [Int64: Origin] = [:]
    private var streams: [Int64: StreamID] = [:]

    init(database: Database, ring: KeyRing) {
        self.database = database
        self.ring = ring
    }

    /// Runs `body` on one state of the store, whatever is written meanwhile.
    func snapshot<Value>(
        _ body: (StoreReader) throws(RuntimeError) -> Value
    ) throws(RuntimeError) -> Value {
        try database.run("BEGIN")
        do {
            let value = try body(self)
            try database.run("COMMIT")
            return value
        } catch {
            // The transaction only read; should SQLite not end it, the next BEGIN says so.
            try? database.run("ROLLBACK")
            throw error
        }
    }

    /// For rows whose origin's own row cannot be read.
    func assume(_ origin: Origin, at index: Int64) { origins[index] = origin }

    /// Forgets what was read, after a rollback.
    func forget() {
        origins.removeAll(keepingCapacity: true)
        streams.removeAll(keepingCapacity: true)
    }

    // MARK: - The port's questions

    func operations(of stream: StreamID) throws(RuntimeError) -> [Operation] {
        guard let (index, row) = try find(stream) else { return [] }
        var operations: [Operation] = []
        try database.forEach("SELECT id, kind, sealed FROM operations WHERE stream = ? ORDER BY id", .integer(index)) {
            columns throws(RuntimeError) in
            operations.append(
                try operation(columns.integer(0), columns.integer(1), columns.blob(2), stream: stream).operation)
        }
        guard operations.count == Int(clamping: row.operations) else {
            throw RuntimeError(
                .corrupt,
                "the store is damaged: a conversation has \(operations.count) of its \(row.operations) operations")
        }
        // Rows lie in the order in which their origins were first seen here.
        if Set(operations.map(\.dot.origin)).count > 1 { operations.sort { $0.dot < $1.dot } }
        return operations
    }

    func operations(
        of origin: Origin, after sequence: UInt64, limit: Int
    ) throws(RuntimeError) -> [Operation] {
        guard limit > 0, let row = try row(of: origin) else { return [] }
        var operations: [Operation] = []
        try forEachOperation(of: row, after: sequence, limit: limit) { operation in
            operations.append(operation)
            return true
        }
        return operations
    }

    /// Calls `body` with the operations above `sequence` in their order, at most `limit` of them, until it says false.
    func forEachOperation(
        of origin: OriginRow, after sequence: UInt64, limit: Int, body: (Operation) -> Bool
    ) throws(RuntimeError) {
        guard sequence < 1 << UInt64(Limits.sequenceBits) else { return }
        let base = origin.index << Limits.sequenceBits
        var last = sequence
        try database.scan(
            "SELECT id, kind, sealed, stream FROM operations WHERE id > ? AND id < ? ORDER BY id LIMIT ?",
            .integer(base + Int64(sequence)), .integer(base + 1 << Limits.sequenceBits), .integer(Int64(limit))
        ) { columns throws(RuntimeError) in
            let stream = try stream(at: columns.integer(3))
            let next = try operation(columns.integer(0), columns.integer(1), columns.blob(2), stream: stream).operation
            guard next.dot.sequence == last + 1 else {
                throw RuntimeError(.corrupt, "the store is damaged: operations before \(next.dot) are missing")
            }
            last += 1
            return body(next)
        }
    }

    func conversation(_ stream: StreamID) throws(RuntimeError) -> ConversationHeader? {
        try find(stream)?.row.header
    }

    /// Rows that were damaged are left out: reading their conversation says so, the others go on.
    func conversations(of owner: Owner, limit: Int) throws(RuntimeError) -> [ConversationHeader] {
        guard limit > 0,
            let index = try database.first(
                "SELECT id FROM owners WHERE fingerprint = ?", .blob(fingerprint(of: owner)), read: { $0.integer(0) })
        else { return [] }
        var headers: [ConversationHeader] = []
        try database.forEach(
            "SELECT id, sealed FROM streams WHERE owner = ? ORDER BY updated DESC, id DESC LIMIT ?", .integer(index),
            .integer(Int64(limit))
        ) { columns throws(RuntimeError) in
            guard let content = ring.open(columns.blob(1), as: .stream(columns.integer(0))),
                let header = try StreamRow(content).header, header.owner == owner
            else { return }
            headers.append(header)
        }
        return headers
    }

    /// A prefix leads somewhere only where the operation that it names says so itself.
    func firstMatch(of prefixes: [PrefixHash]) throws(RuntimeError) -> PrefixMatch? {
        for prefix in prefixes {
            var candidates: [Int64] = []
            try database.forEach(
                "SELECT operation FROM prefixes WHERE hash = ? ORDER BY operation DESC", .bits(prefix.rawValue)
            ) { candidates.append($0.integer(0)) }
            for id in candidates {
                guard let row = try readable(id), row.prefixes.contains(prefix.rawValue) else { continue }
                return PrefixMatch(prefix: prefix, stream: row.operation.stream, dot: row.operation.dot)
            }
        }
        return nil
    }

    func state() throws(RuntimeError) -> StoreState {
        let record = try database.first("SELECT state FROM meta WHERE id = 1") { $0.blob(0) }
        guard let record, let content = ring.open(record, as: .state) else {
            throw RuntimeError(
                .corrupt, "the store's state is damaged: restore a copy of the store, or give another storage_path")
        }
        return try StoreState(content)
    }

    // MARK: - Rows

    /// The row of a stream; nil for one never seen.
    func find(_ stream: StreamID) throws(RuntimeError) -> (index: Int64, row: StreamRow)? {
        let found = try database.first(
            "SELECT id, sealed FROM streams WHERE fingerprint = ?", .blob(fingerprint(of: stream))
        ) { (index: $0.integer(0), record: $0.blob(1)) }
        guard let found else { return nil }
        guard let content = ring.open(found.record, as: .stream(found.index)) else { throw Self.damagedConversation }
        let row = try StreamRow(content)
        guard row.stream == stream else { throw Self.damagedConversation }
        return (found.index, row)
    }

    /// The row of an origin; nil for one never seen.
    func row(of origin: Origin) throws(RuntimeError) -> OriginRow? {
        try database.first(
            "SELECT id, node, epoch, sealed FROM origins WHERE node = ? AND epoch = ?",
            .blob(origin.node.bytes.bytes), .integer(Int64(origin.epoch))
        ) { columns throws(RuntimeError) in try originRow(columns, index: columns.integer(0), from: 1) }
    }

    /// All origins, by index.
    func allOrigins() throws(RuntimeError) -> [OriginRow] {
        var rows: [OriginRow] = []
        try database.forEach("SELECT id, node, epoch, sealed FROM origins ORDER BY id") {
            columns throws(RuntimeError) in
            rows.append(try originRow(columns, index: columns.integer(0), from: 1))
        }
        return rows
    }

    /// The operation of a row number, whatever its stream; nil for none. Throws `.corrupt` for a damaged one.
    func operation(at id: Int64) throws(RuntimeError) -> OperationRow? {
        let found = try database.first("SELECT kind, sealed, stream FROM operations WHERE id = ?", .integer(id)) {
            (kind: $0.integer(0), record: $0.blob(1), stream: $0.integer(2))
        }
        guard let found else { return nil }
        return try operation(id, found.kind, found.record, stream: try stream(at: found.stream))
    }

    /// Opens an operation's row.
    func operation(
        _ id: Int64, _ kind: Int64, _ record: [UInt8], stream: StreamID
    ) throws(RuntimeError) -> OperationRow {
        let dot = try dot(at: id)
        guard let rawKind = UInt8(exactly: kind) else { throw Self.damaged(dot) }
        let kind = Operation.Kind(rawValue: rawKind)
        guard let content = ring.open(record, as: .operation(dot, kind, stream)) else { throw Self.damaged(dot) }
        return try OperationRow(content, dot: dot, kind: kind, stream: stream) { index throws(RuntimeError) in
            try origin(at: index)
        }
    }

    func dot(at id: Int64) throws(RuntimeError) -> Dot {
        let sequence = RowNumber.sequence(id)
        guard id > 0, sequence > 0 else { throw RuntimeError(.corrupt, "the store is damaged: a row has no number") }
        return Dot(origin: try origin(at: id >> Limits.sequenceBits), sequence: sequence)
    }

    func fingerprint(of stream: StreamID) -> [UInt8] { ring.fingerprint("stream", of: stream.bytes.bytes) }
    func fingerprint(of owner: Owner) -> [UInt8] { ring.fingerprint("owner", of: Array(owner.name.utf8)) }

    // MARK: - Parts

    /// Nil also where the row is damaged: for an index that leads to it, that is as good as none.
    private func readable(_ id: Int64) throws(RuntimeError) -> OperationRow? {
        do {
            return try operation(at: id)
        } catch {
            guard error.code == .corrupt else { throw error }
            return nil
        }
    }

    func stream(at index: Int64) throws(RuntimeError) -> StreamID {
        if let stream = streams[index] { return stream }
        let record = try database.first("SELECT sealed FROM streams WHERE id = ?", .integer(index)) { $0.blob(0) }
        guard let record, let content = ring.open(record, as: .stream(index)) else { throw Self.damagedConversation }
        let stream = try StreamRow(content).stream
        if streams.count >= Limits.storeCachedRows { streams.removeAll(keepingCapacity: true) }
        streams[index] = stream
        return stream
    }

    private func origin(at index: Int64) throws(RuntimeError) -> Origin {
        if let origin = origins[index] { return origin }
        let row = try database.first("SELECT node, epoch, sealed FROM origins WHERE id = ?", .integer(index)) {
            columns throws(RuntimeError) in try originRow(columns, index: index, from: 0)
        }
        guard let row else { throw RuntimeError(.corrupt, "the store is damaged: an origin is missing") }
        if origins.count >= Limits.storeCachedRows { origins.removeAll(keepingCapacity: true) }
        origins[index] = row.origin
        return row.origin
    }

    private func originRow(_ columns: Row, index: Int64, from first: Int32) throws(RuntimeError) -> OriginRow {
        guard let node = Bytes16(columns.blob(first)), let epoch = UInt32(exactly: columns.integer(first + 1)) else {
            throw RuntimeError(.corrupt, "the store is damaged: origin \(index) is not one")
        }
        let origin = Origin(node: NodeID(node), epoch: epoch)
        guard let content = ring.open(columns.blob(first + 2), as: .origin(index, origin)) else {
            throw RuntimeError(.corrupt, "the store is damaged: origin \(origin) cannot be read")
        }
        return try OriginRow(content, index: index, origin: origin)
    }

    static func damaged(_ dot: Dot) -> RuntimeError {
        RuntimeError(
            .corrupt, "operation \(dot) in the store was damaged or changed; other conversations can still be read")
    }

    private static let damagedConversation = RuntimeError(
        .corrupt, "a conversation's row in the store was damaged or changed; other conversations can still be read")
}
