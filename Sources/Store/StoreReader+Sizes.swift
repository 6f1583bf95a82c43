import Core

/// What conversations take, and which were used last.
extension StoreReader {
    /// Of all owners; rows that were damaged are left out.
    func oldest(limit: Int) throws(RuntimeError) -> [ConversationSize] {
        guard limit > 0 else { return [] }
        var found: [(index: Int64, header: ConversationHeader)] = []
        try database.forEach(
            "SELECT id, sealed FROM streams WHERE owner IS NOT NULL ORDER BY updated, id LIMIT ?",
            .integer(Int64(limit))
        ) { columns throws(RuntimeError) in
            let index = columns.integer(0)
            guard let content = ring.open(columns.blob(1), as: .stream(index)),
                let header = try StreamRow(content).header
            else { return }
            found.append((index, header))
        }
        var sizes: [ConversationSize] = []
        for (index, header) in found {
            let bytes = try database.first(
                "SELECT SUM(LENGTH(sealed)) FROM operations WHERE stream = ?", .integer(index),
                read: { Int(clamping: $0.integer(0)) })
            sizes.append(ConversationSize(header: header, bytes: bytes ?? 0))
        }
        return sizes
    }

    /// What stands in rows of conversations that are not deleted.
    func contentBytes() throws(RuntimeError) -> Int {
        try database.first(
            """
            SELECT SUM(LENGTH(sealed)) FROM operations
            WHERE stream IN (SELECT id FROM streams WHERE owner IS NOT NULL)
            """, read: { Int(clamping: $0.integer(0)) }) ?? 0
    }
}
