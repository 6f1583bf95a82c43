import Core

/// A damaged operation is put in place again from a peer's copy.
extension StoreWriter {
    /// Only rows that no longer open are written: what is whole here is what the chain was computed from.
    func repair(_ operations: [Operation]) throws(RuntimeError) -> [Dot] {
        // What was read of the streams before may be gone since.
        reader.forget()
        return try transaction { () throws(RuntimeError) in
            var repaired: [Dot] = []
            for operation in operations where try repair(operation) { repaired.append(operation.dot) }
            return repaired
        }
    }

    private func repair(_ operation: Operation) throws(RuntimeError) -> Bool {
        guard let origin = origins[operation.dot.origin], operation.dot.sequence <= origin.sequence,
            !operation.isHashLost
        else { return false }
        let id = RowNumber.of(operation.dot, index: origin.index)
        var wasErased = false
        do {
            if let row = try reader.operation(at: id) {
                guard row.operation.isHashLost else { return false }
                wasErased = true
            }
        } catch {
            guard error.code == .corrupt else { throw error }
        }
        var operation = operation
        // What was deleted here stays deleted, whatever the peer still has.
        if wasErased { operation = operation.erased }
        let stream = try restore(operation.stream, formerOf: id)
        // The hashes by which it was found are lost with the old row: those in the index prove nothing by themselves.
        let row = OperationRow(operation: operation, prefixes: [])
        try database.run(
            "INSERT OR REPLACE INTO operations (id, stream, kind, sealed) VALUES (?, ?, ?, ?)", .integer(id),
            .integer(stream), .integer(Int64(operation.kind.rawValue)), .blob(try sealed(row)))
        return true
    }

    /// The index of a stream's row, which may be damaged or gone itself: it is made anew then, under the number by which
    /// its operations know it, and counts none of them until ``recount()``.
    private func restore(_ stream: StreamID, formerOf operation: Int64) throws(RuntimeError) -> Int64 {
        let known = streams.removeValue(forKey: stream)
        do {
            if let index = try lookUp(stream) { return index }
        } catch {
            guard error.code == .corrupt else { throw error }
        }
        let fingerprint = reader.fingerprint(of: stream)
        var index = try database.first("SELECT id FROM streams WHERE fingerprint = ?", .blob(fingerprint)) {
            $0.integer(0)
        }
        if index == nil {
            index = try database.first(
                "SELECT stream FROM operations WHERE id = ? AND stream NOT IN (SELECT id FROM streams)",
                .integer(operation), read: { $0.integer(0) })
        }
        guard let index = index ?? known?.index else { return try ensure(stream) }
        try database.run(
            "INSERT OR REPLACE INTO streams (id, fingerprint, sealed) VALUES (?, ?, x'')", .integer(index),
            .blob(fingerprint))
        streams[stream] = (index, known?.row ?? StreamRow(stream: stream))
        try save(stream)
        return index
    }

    /// Every operation is there again: conversations that count another number of them were damaged themselves, or were
    /// deleted while some were missing.
    func recount() throws(RuntimeError) -> [StreamID] {
        reader.forget()
        let miscounted = try reader.miscounted()
        guard !miscounted.isEmpty else { return [] }
        return try transaction { () throws(RuntimeError) in
            for stream in miscounted { try recount(stream) }
            // Those that were made anew are shown, and counted, once the caller has seen to them.
            let shown = try database.first("SELECT COUNT(*) FROM streams WHERE owner IS NOT NULL") { $0.bits(0) }
            state.conversations = shown ?? 0
            return miscounted
        }
    }

    func recount(_ stream: StreamID) throws(RuntimeError) {
        guard let index = try lookUp(stream) else { return }
        let count = try database.first("SELECT COUNT(*) FROM operations WHERE stream = ?", .integer(index)) {
            $0.bits(0)
        }
        streams[stream]?.row.operations = count ?? 0
        try save(stream)
    }
}
