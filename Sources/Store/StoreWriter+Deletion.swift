import Core
import Cryptography

/// Deletion: what was said goes, the log's chain of hashes stays whole (swarm.md §4).
extension StoreWriter {
    /// Takes an operation's content away: its body becomes the hash that it had.
    func erase(_ dot: Dot) throws(RuntimeError) {
        guard let origin = origins[dot.origin], dot.sequence <= origin.sequence else {
            throw RuntimeError(.internal, "\(dot) cannot be erased: it is not in the store")
        }
        let id = RowNumber.of(dot, index: origin.index)
        let found = try database.first("SELECT kind, sealed, stream FROM operations WHERE id = ?", .integer(id)) {
            (kind: $0.integer(0), record: $0.blob(1), stream: $0.integer(2))
        }
        // A row that has gone missing has nothing left to take away.
        guard let found else { return }
        guard let row = try erased(id, found.kind, found.record, of: try reader.stream(at: found.stream)) else {
            return
        }
        // Not in its place: SQLite joins pages that are nearly empty where a row goes, not where one becomes smaller, and
        // what was erased would keep its room for good.
        try database.run("DELETE FROM operations WHERE id = ?", .integer(id))
        try insert(row, id: id, stream: found.stream)
        state.erasures += 1
    }

    /// Takes a conversation out of the view. False for one that is not there.
    func hide(_ stream: StreamID) throws(RuntimeError) -> Bool {
        guard try lookUp(stream) != nil, streams[stream]?.row.header != nil else { return false }
        state.conversations = state.conversations.subtracting(1)
        streams[stream]?.row.header = nil
        // Of what is missing nothing can be shown any more: it does not keep the conversation from being begun anew.
        try recount(stream)
        return true
    }

    /// What is to stand in place of a row; nil where nothing of it needs to go.
    private func erased(
        _ id: Int64, _ kind: Int64, _ record: [UInt8], of stream: StreamID
    ) throws(RuntimeError) -> OperationRow? {
        var row: OperationRow
        do {
            row = try reader.operation(id, kind, record, stream: stream)
            guard !row.operation.flags.contains(.erased) else { return nil }
            guard !row.operation.body.isEmpty || !row.prefixes.isEmpty else { return nil }
            for prefix in row.prefixes {
                try database.run(
                    "DELETE FROM prefixes WHERE hash = ? AND operation = ?", .bits(prefix), .integer(id))
            }
            row.prefixes = []
            row.operation = row.operation.erased
        } catch {
            guard error.code == .corrupt else { throw error }
            // A damaged row goes like the others. What it hashed to is lost: the zeros say so, and a peer can tell.
            let kind = Operation.Kind(rawValue: UInt8(truncatingIfNeeded: kind))
            row = OperationRow(
                operation: Operation(
                    dot: try reader.dot(at: id), kind: kind, flags: .erased,
                    timestamp: HybridTimestamp(rawValue: 0), stream: stream,
                    body: Operation.lostHash),
                prefixes: [])
        }
        return row
    }
}

extension Operation {
    /// With the hash that it had in place of its body; one without a body, or erased already, as it is.
    var erased: Operation {
        guard !body.isEmpty, !flags.contains(.erased) else { return self }
        var erased = self
        erased.body = SHA256.hash(OperationCodec.encode(self))
        erased.flags.insert(.erased)
        return erased
    }
}

extension UInt64 {
    /// Never below zero.
    fileprivate func subtracting(_ other: UInt64) -> UInt64 { self > other ? self - other : 0 }
}
