import Core
import Cryptography

/// Deletion: what was said goes, the log's chain of hashes stays whole (swarm.md §4).
extension StoreWriter {
    /// Takes a stream's content away: each body becomes the hash of its operation. False for an unknown stream.
    func erase(_ stream: StreamID) throws(RuntimeError) -> Bool {
        guard let index = try lookUp(stream) else { return false }
        var rows: [(id: Int64, kind: Int64, record: [UInt8])] = []
        try database.forEach("SELECT id, kind, sealed FROM operations WHERE stream = ?", .integer(index)) {
            rows.append(($0.integer(0), $0.integer(1), $0.blob(2)))
        }
        for row in rows { try erase(row.id, row.kind, row.record, of: stream) }
        if streams[stream]?.row.header != nil { state.conversations = state.conversations.subtracting(1) }
        streams[stream]?.row.header = nil
        return true
    }

    private func erase(_ id: Int64, _ kind: Int64, _ record: [UInt8], of stream: StreamID) throws(RuntimeError) {
        var row: OperationRow
        do {
            row = try reader.operation(id, kind, record, stream: stream)
            guard !row.operation.flags.contains(.erased) else { return }
            guard !row.operation.body.isEmpty || !row.prefixes.isEmpty else { return }
            for prefix in row.prefixes {
                try database.run(
                    "DELETE FROM prefixes WHERE hash = ? AND operation = ?", .bits(prefix), .integer(id))
            }
            row.prefixes = []
            if !row.operation.body.isEmpty {
                row.operation.body = SHA256.hash(OperationCodec.encode(row.operation))
                row.operation.flags.insert(.erased)
            }
        } catch {
            guard error.code == .corrupt else { throw error }
            // A damaged row goes like the others. What it hashed to is lost: the zeros say so, and a peer can tell.
            let kind = Operation.Kind(rawValue: UInt8(truncatingIfNeeded: kind))
            row = OperationRow(
                operation: Operation(
                    dot: try reader.dot(at: id), kind: kind, flags: .erased,
                    timestamp: HybridTimestamp(rawValue: 0), stream: stream,
                    body: [UInt8](repeating: 0, count: SHA256.digestBytes)),
                prefixes: [])
            try database.run(
                "UPDATE operations SET kind = ? WHERE id = ?", .integer(Int64(kind.rawValue)), .integer(id))
        }
        try replace(row, id: id)
    }

    /// Moves the log, which still holds the old records, into the database and empties it.
    func emptyLog() {
        mustErase = true
        // A reader in the way, or a full disk: then at the next rest.
        _ = try? database.checkpoint()
    }
}

extension UInt64 {
    /// Never below zero.
    fileprivate func subtracting(_ other: UInt64) -> UInt64 { self > other ? self - other : 0 }
}
