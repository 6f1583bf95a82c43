import Core

/// Parts of a stream with the author's word for them, as they travel.
extension StoreReader {
    /// Bounds of one batch, as far as the seals allow them.
    struct BatchBounds {
        var operations = Limits.batchOperations
        var bytes = Limits.batchBytes
    }

    /// The operations of `origin` above `sequence` up to a seal; nil where there is none.
    ///
    /// - Parameter last: the stream counts as ending there; it is the latest seal otherwise.
    func batch(
        of origin: Origin, after sequence: UInt64, upTo last: BatchSeal? = nil, bounds: BatchBounds = BatchBounds()
    ) throws(RuntimeError) -> OperationBatch? {
        guard let row = try row(of: origin), let last = last ?? row.seal, last.sequence > sequence else { return nil }
        let ends = try ends(in: row, after: sequence, upTo: last, atMost: bounds.operations)
        guard let first = ends.first, let farthest = ends.last else { return nil }
        var operations: [Operation] = []
        var bytes = 0
        // How many operations make a whole batch within the bounds; the first seal counts whatever is before it.
        var whole = 0
        do throws(RuntimeError) {
            try forEachOperation(of: row, after: sequence, limit: Int(clamping: farthest - sequence)) { operation in
                bytes += operation.body.count + 64
                guard bytes <= bounds.bytes || operation.dot.sequence <= first else { return false }
                operations.append(operation)
                if ends.contains(operation.dot.sequence) { whole = operations.count }
                return true
            }
        } catch  where error.code == .corrupt && whole > 0 {
            // A peer that lacks what comes before the damage gets that: it may be what it needs to be whole itself.
        }
        guard whole > 0 else {
            throw RuntimeError(.corrupt, "the store is damaged: operations of \(origin) before \(first) are missing")
        }
        operations.removeLast(operations.count - whole)
        return OperationBatch(
            operations: operations, seal: try seal(in: row, at: sequence + UInt64(whole), latest: last))
    }

    /// Where batches after `sequence` may end: those within `limit` operations, or else the first one.
    private func ends(
        in row: OriginRow, after sequence: UInt64, upTo last: BatchSeal, atMost limit: Int
    ) throws(RuntimeError) -> [UInt64] {
        let base = row.index << Limits.sequenceBits
        let reach = sequence &+ UInt64(clamping: limit)
        var ends: [UInt64] = []
        try database.forEach(
            "SELECT id FROM seals WHERE id > ? AND id < ? ORDER BY id LIMIT ?",
            .integer(base + Int64(clamping: sequence)), .integer(base + Int64(clamping: last.sequence)),
            .integer(Int64(clamping: limit))
        ) { ends.append(RowNumber.sequence($0.integer(0))) }
        ends.append(last.sequence)
        let near = ends.filter { $0 <= reach }
        return near.isEmpty ? Array(ends.prefix(1)) : near
    }

    private func seal(
        in row: OriginRow, at sequence: UInt64, latest: BatchSeal
    ) throws(RuntimeError) -> BatchSeal {
        if sequence == latest.sequence { return latest }
        let dot = Dot(origin: row.origin, sequence: sequence)
        let number = RowNumber.of(dot, index: row.index)
        let record = try database.first("SELECT sealed FROM seals WHERE id = ?", .integer(number)) { $0.blob(0) }
        guard let record, let signature = ring.open(record, as: .seal(dot)),
            signature.count == BatchSeal.signatureBytes
        else { throw RuntimeError(.corrupt, "the seal of \(dot) in the store was damaged or changed") }
        return BatchSeal(origin: row.origin, sequence: sequence, author: latest.author, signature: signature)
    }
}
