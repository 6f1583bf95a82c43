import CSQLite
import Core

/// A value on its way into a statement.
enum SQLValue {
    case null
    case integer(Int64)
    case blob([UInt8])

    /// The same 64 bits; SQLite knows signed numbers only.
    static func bits(_ value: UInt64) -> SQLValue { .integer(Int64(bitPattern: value)) }
}

/// The row that a statement stands on. Columns count from 0 and give nothing (0, no bytes) where their type is other.
struct Row {
    fileprivate let statement: OpaquePointer

    func integer(_ column: Int32) -> Int64 { sqlite3_column_int64(statement, column) }
    func bits(_ column: Int32) -> UInt64 { UInt64(bitPattern: integer(column)) }
    /// Of a blob.
    func count(_ column: Int32) -> Int { Int(sqlite3_column_bytes(statement, column)) }
    func isNull(_ column: Int32) -> Bool { sqlite3_column_type(statement, column) == SQLITE_NULL }

    func blob(_ column: Int32) -> [UInt8] {
        guard sqlite3_column_type(statement, column) == SQLITE_BLOB, let bytes = sqlite3_column_blob(statement, column)
        else { return [] }
        return Array(UnsafeRawBufferPointer(start: bytes, count: Int(sqlite3_column_bytes(statement, column))))
    }

    func text(_ column: Int32) -> String {
        sqlite3_column_text(statement, column).map { String(cString: $0) } ?? ""
    }
}

/// A prepared statement, kept for the connection's life.
final class Statement {
    private let pointer: OpaquePointer

    init(_ sql: String, on database: OpaquePointer) throws(RuntimeError) {
        var pointer: OpaquePointer?
        let result = sqlite3_prepare_v3(database, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &pointer, nil)
        guard result == SQLITE_OK, let pointer else { throw SQLiteFailure.error(result) }
        self.pointer = pointer
    }

    deinit { sqlite3_finalize(pointer) }

    func begin(_ values: [SQLValue]) throws(RuntimeError) {
        for (index, value) in values.enumerated() {
            let position = Int32(truncatingIfNeeded: index + 1)
            let result =
                switch value {
                case .null: sqlite3_bind_null(pointer, position)
                case .integer(let number): sqlite3_bind_int64(pointer, position, number)
                case .blob(let bytes):
                    igris_sqlite3_bind_blob(pointer, position, bytes, Int32(clamping: bytes.count))
                }
            guard result == SQLITE_OK else {
                end()
                throw SQLiteFailure.error(result)
            }
        }
    }

    func step() throws(RuntimeError) -> Row? {
        switch sqlite3_step(pointer) {
        case SQLITE_ROW: return Row(statement: pointer)
        case SQLITE_DONE: return nil
        case let result: throw SQLiteFailure.error(result)
        }
    }

    /// Gives up locks and values; a failure that it repeats was thrown by ``step()`` already.
    func end() {
        sqlite3_reset(pointer)
        sqlite3_clear_bindings(pointer)
    }
}
