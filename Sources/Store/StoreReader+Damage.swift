import Core

/// What no longer opens.
extension StoreReader {
    /// The operations that are damaged or missing, in the order of their rows.
    func damaged(limit: Int) throws(RuntimeError) -> [Dot] {
        var damaged: [Dot] = []
        for origin in try allOrigins() where damaged.count < limit {
            let base = origin.index << Limits.sequenceBits
            var next: UInt64 = 1
            func miss(before sequence: UInt64) {
                while next < sequence, damaged.count < limit {
                    damaged.append(Dot(origin: origin.origin, sequence: next))
                    next += 1
                }
            }
            try database.scan(
                "SELECT id, kind, sealed, stream FROM operations WHERE id > ? AND id < ? ORDER BY id", .integer(base),
                .integer(base + 1 << Limits.sequenceBits)
            ) { row throws(RuntimeError) in
                let dot = Dot(origin: origin.origin, sequence: RowNumber.sequence(row.integer(0)))
                miss(before: dot.sequence)
                if try isDamaged(row) { damaged.append(dot) }
                next = dot.sequence + 1
                return damaged.count < limit
            }
            miss(before: origin.sequence + 1)
        }
        return damaged
    }

    /// Whether a row (id, kind, sealed, stream) is not what was written, or was erased when it no longer was.
    private func isDamaged(_ row: Row) throws(RuntimeError) -> Bool {
        do {
            let stream = try stream(at: row.integer(3))
            return try operation(row.integer(0), row.integer(1), row.blob(2), stream: stream).operation.isHashLost
        } catch {
            guard error.code == .corrupt else { throw error }
            return true
        }
    }
}

extension Operation {
    /// Stands in place of the hash of an operation that was damaged when it was erased.
    static let lostHash = [UInt8](repeating: 0, count: 32)

    /// Whether the chain of its origin cannot be followed over it.
    var isHashLost: Bool { flags.contains(.erased) && body == Self.lostHash }
}
