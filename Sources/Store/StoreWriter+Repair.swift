import Core

/// A damaged operation is put in place again from a peer's copy.
extension StoreWriter {
    /// Only rows that no longer open are written: what is whole here is what the chain was computed from.
    func repair(_ operations: [Operation]) throws(RuntimeError) -> [Dot] {
        try transaction { () throws(RuntimeError) in
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
        let stream = try ensure(operation.stream)
        // The hashes by which it was found are lost with the old row: those in the index prove nothing by themselves.
        let row = OperationRow(operation: operation, prefixes: [])
        try database.run(
            "INSERT OR REPLACE INTO operations (id, stream, kind, sealed) VALUES (?, ?, ?, ?)", .integer(id),
            .integer(stream), .integer(Int64(operation.kind.rawValue)), .blob(try sealed(row)))
        return true
    }
}
