/// How far the sealing anew of all rows has come.
struct KeyRewriting: Sendable {
    enum Table: String, CaseIterable {
        case origins
        case streams
        case seals
        case operations
    }

    /// Nil once all were looked at.
    private(set) var table: Table? = .origins
    /// The last row that was looked at in ``table``.
    var last: Int64 = 0
    /// Operations looked at.
    var operations: UInt64 = 0
    /// Rows of older keys that do not open. Those keys stay: a row may only be out of its place for now.
    var stuck: UInt64 = 0

    mutating func goOn() {
        last = 0
        table = table.flatMap { table in Table.allCases.drop { $0 != table }.dropFirst().first }
    }

    /// Operations that are left, of so many; at the end those that are stuck.
    func left(of total: UInt64) -> UInt64 {
        table == nil ? stuck : (total > operations ? total - operations : 0) + stuck
    }
}
