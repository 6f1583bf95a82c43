import Core

/// Which part of a list a client asks for: `limit`, `order` and `after` of the query.
struct Page {
    private let limit: Int
    private let isAscending: Bool
    private let after: String?

    /// Throws ``RuntimeError`` `.invalidRequest`.
    init(_ exchange: Exchange, isAscending: Bool = false) throws(RuntimeError) {
        var limit = 20
        if let text = exchange.query("limit") {
            guard let number = Int(text), (1...100).contains(number) else {
                throw RuntimeError(.invalidRequest, "limit must be a whole number from 1 to 100", parameter: "limit")
            }
            limit = number
        }
        self.limit = limit
        switch exchange.query("order") {
        case nil: self.isAscending = isAscending
        case "asc": self.isAscending = true
        case "desc": self.isAscending = false
        default: throw RuntimeError(.invalidRequest, "order must be asc or desc", parameter: "order")
        }
        after = exchange.query("after").map(String.init)
    }

    /// OpenAI's list object of that part of `entries`, which come oldest first.
    func list(of entries: [(id: String, json: JSON)]) throws(RuntimeError) -> JSON {
        var rest = (isAscending ? entries : entries.reversed())[...]
        if let after {
            guard let place = rest.firstIndex(where: { $0.id == after }) else {
                throw RuntimeError(.invalidRequest, "after names nothing of this list", parameter: "after")
            }
            rest = rest[(place + 1)...]
        }
        let shown = rest.prefix(limit)
        return [
            "object": "list", "data": .array(shown.map(\.json)),
            "first_id": shown.first.map { .string($0.id) } ?? .null,
            "last_id": shown.last.map { .string($0.id) } ?? .null, "has_more": .bool(shown.count < rest.count),
        ]
    }
}
