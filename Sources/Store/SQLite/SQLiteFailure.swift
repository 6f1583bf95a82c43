import CSQLite
import Core

/// SQLite's result codes as errors of this house: the library's own words for the code, never a path or content.
enum SQLiteFailure {
    static func error(_ result: Int32) -> RuntimeError {
        let words = sqlite3_errstr(result).map { String(cString: $0) } ?? "unknown error"
        let reason = "\(words), SQLite code \(result)"
        return switch result & 0xFF {
        case SQLITE_FULL:
            RuntimeError(
                .storageFull,
                "the disk of the store is full (\(reason)), so nothing more can be kept: free space there, or set "
                    + "context.max_bytes; with \"store\": false requests are answered without being kept")
        case SQLITE_CORRUPT, SQLITE_NOTADB:
            RuntimeError(
                .corrupt, "the store is damaged (\(reason)): restore a copy, or move the file away to begin anew")
        case SQLITE_BUSY, SQLITE_LOCKED:
            RuntimeError(.unavailable, "the store is held by another program (\(reason)): close that program")
        case SQLITE_IOERR, SQLITE_READONLY, SQLITE_CANTOPEN, SQLITE_PERM, SQLITE_NOLFS, SQLITE_AUTH, SQLITE_PROTOCOL:
            RuntimeError(.system, "the store's files cannot be used (\(reason)): check its disk and permissions")
        default:
            RuntimeError(.internal, "the store refused a statement (\(reason))")
        }
    }
}

/// The library as a report names it.
package enum StoreLibrary {
    package static var version: String { String(cString: sqlite3_libversion()) }
}
