import Core
import Cryptography

/// What no longer opens.
extension StoreReader {
    /// Looks at about `limit` rows from the one after `start` on, in the order of origins.
    func scrub(after start: Dot?, rows limit: Int) throws(RuntimeError) -> ScrubbedRows {
        // What was read of other tables before may be gone since.
        forget()
        var found = ScrubbedRows()
        var left = limit
        for origin in try allOrigins().sorted(by: { $0.origin < $1.origin }) {
            var last: UInt64 = 0
            if let start {
                guard origin.origin >= start.origin else { continue }
                if origin.origin == start.origin { last = start.sequence }
            }
            func miss(before sequence: UInt64) {
                while last + 1 < sequence, left > 0 {
                    last += 1
                    left -= 1
                    found.damaged.append(
                        ScrubbedRows.Damaged(dot: Dot(origin: origin.origin, sequence: last), stream: nil))
                }
            }
            let base = origin.index << Limits.sequenceBits
            try database.scan(
                "SELECT id, kind, sealed, stream FROM operations WHERE id > ? AND id <= ? ORDER BY id",
                .integer(base + Int64(clamping: last)), .integer(base + Int64(clamping: origin.sequence))
            ) { row throws(RuntimeError) in
                let dot = Dot(origin: origin.origin, sequence: RowNumber.sequence(row.integer(0)))
                miss(before: dot.sequence)
                guard left > 0 else { return false }
                try inspect(row, dot, &found)
                last = dot.sequence
                left -= 1
                return left > 0
            }
            miss(before: origin.sequence + 1)
            if left <= 0 {
                found.next = Dot(origin: origin.origin, sequence: last)
                return found
            }
        }
        return found
    }

    /// A row (id, kind, sealed, stream) that is not what was written, or was erased when it no longer was, is damaged.
    private func inspect(_ row: Row, _ dot: Dot, _ found: inout ScrubbedRows) throws(RuntimeError) {
        var stream: StreamID?
        do {
            let known = try self.stream(at: row.integer(3))
            stream = known
            let operation = try operation(row.integer(0), row.integer(1), row.blob(2), stream: known).operation
            if !operation.isHashLost {
                let isErased = operation.flags.contains(.erased)
                found.sound.append(
                    ScrubbedRows.Sound(
                        dot: dot, stream: known,
                        hash: isErased ? operation.body : SHA256.hash(OperationCodec.encode(operation))))
                return
            }
        } catch {
            guard error.code == .corrupt else { throw error }
        }
        found.damaged.append(ScrubbedRows.Damaged(dot: dot, stream: stream))
    }

    /// Streams whose rows count another number of operations than there are, or that say nothing of themselves because
    /// they were put in place again.
    func miscounted() throws(RuntimeError) -> [StreamID] {
        var counts: [Int64: UInt64] = [:]
        try database.forEach("SELECT stream, COUNT(*) FROM operations GROUP BY stream") {
            counts[$0.integer(0)] = $0.bits(1)
        }
        var streams: [StreamID] = []
        try database.forEach("SELECT id, sealed FROM streams ORDER BY id") { columns throws(RuntimeError) in
            let index = columns.integer(0)
            guard let content = ring.open(columns.blob(1), as: .stream(index)) else { return }
            let row = try StreamRow(content)
            if row.operations != counts[index] ?? 0 { streams.append(row.stream) }
        }
        return streams
    }

    /// What can be read of a stream; of the other rows their places.
    func remains(of stream: StreamID) throws(RuntimeError) -> [Operation] {
        let index = try database.first(
            "SELECT id FROM streams WHERE fingerprint = ?", .blob(fingerprint(of: stream)), read: { $0.integer(0) })
        guard let index else { return [] }
        var operations: [Operation] = []
        try database.forEach("SELECT id, kind, sealed FROM operations WHERE stream = ? ORDER BY id", .integer(index)) {
            columns throws(RuntimeError) in
            do throws(RuntimeError) {
                operations.append(
                    try operation(columns.integer(0), columns.integer(1), columns.blob(2), stream: stream).operation)
            } catch {
                guard error.code == .corrupt else { throw error }
                operations.append(
                    Operation(
                        dot: try dot(at: columns.integer(0)),
                        kind: Operation.Kind(rawValue: UInt8(truncatingIfNeeded: columns.integer(1))),
                        timestamp: HybridTimestamp(rawValue: 0), stream: stream, body: []))
            }
        }
        return operations.sorted { $0.dot < $1.dot }
    }
}

extension Operation {
    /// Stands in place of the hash of an operation that was damaged when it was erased.
    static let lostHash = [UInt8](repeating: 0, count: 32)

    /// Whether the chain of its origin cannot be followed over it.
    var isHashLost: Bool { flags.contains(.erased) && body == Self.lostHash }
}
