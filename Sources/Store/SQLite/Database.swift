import CSQLite
import Core

/// One SQLite connection with its prepared statements. It belongs to one thread: nothing in it is locked.
final class Database {
    enum Location {
        case memory
        case file(String)
        /// For looking only: no lock, no write-ahead log, no file made or changed (`immutable=1`).
        case untouched(String)
        /// For looking only, at the write-ahead log as well: no file made or changed. Nobody else may have it open.
        case untouchedWithLog(String)
    }

    private let handle: OpaquePointer
    private var statements: [String: Statement] = [:]
    /// See ``logPages``; SQLite writes it with each commit.
    private let logged = UnsafeMutablePointer<Int32>.allocate(capacity: 1)

    init(_ location: Location) throws(RuntimeError) {
        let name: String
        var flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE
        switch location {
        case .memory:
            name = ":memory:"
            flags |= SQLITE_OPEN_READWRITE
        case .file(let path), .untouchedWithLog(let path):
            name = Self.uri(path)
            flags |= SQLITE_OPEN_READWRITE | SQLITE_OPEN_URI
        case .untouched(let path):
            name = Self.uri(path) + "?immutable=1"
            flags |= SQLITE_OPEN_READONLY | SQLITE_OPEN_URI
        }
        var handle: OpaquePointer?
        let result = sqlite3_open_v2(name, &handle, flags, nil)
        guard let handle, result == SQLITE_OK else {
            sqlite3_close_v2(handle)
            throw SQLiteFailure.error(result)
        }
        self.handle = handle
        logged.initialize(to: 0)
        // What a hostile file could make a connection do is switched off before its schema is read.
        for (option, value) in [
            (SQLITE_DBCONFIG_DEFENSIVE, 1), (SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0), (SQLITE_DBCONFIG_ENABLE_TRIGGER, 0),
            (SQLITE_DBCONFIG_ENABLE_VIEW, 0), (SQLITE_DBCONFIG_DQS_DML, 0), (SQLITE_DBCONFIG_DQS_DDL, 0),
        ] {
            guard igris_sqlite3_db_config(handle, Int32(option), Int32(value)) == SQLITE_OK else {
                throw SQLiteFailure.error(SQLITE_MISUSE)
            }
        }
        if case .untouchedWithLog = location {
            // Its index is in our memory then, instead of in a file, and the log stays at the end as it is.
            try keepLog()
            try execute("PRAGMA locking_mode = EXCLUSIVE; PRAGMA query_only = ON")
        }
        sqlite3_limit(handle, SQLITE_LIMIT_LENGTH, Int32(Limits.operationBodyBytes + 1024 * 1024))
        sqlite3_busy_timeout(handle, 5_000)
        try execute("PRAGMA temp_store = MEMORY; PRAGMA cell_size_check = ON; PRAGMA foreign_keys = OFF")
    }

    deinit {
        statements.removeAll()
        sqlite3_close_v2(handle)
        logged.deallocate()
    }

    /// Statements without values or result; several may stand in one text.
    func execute(_ sql: String) throws(RuntimeError) {
        let result = sqlite3_exec(handle, sql, nil, nil, nil)
        guard result == SQLITE_OK else { throw SQLiteFailure.error(result) }
    }

    /// One statement that returns no rows.
    func run(_ sql: String, _ values: SQLValue...) throws(RuntimeError) {
        let statement = try prepared(sql)
        try statement.begin(values)
        defer { statement.end() }
        while try statement.step() != nil {}
    }

    /// Calls `read` for each row; it must not run the same statement again.
    func forEach(
        _ sql: String, _ values: SQLValue..., read: (Row) throws(RuntimeError) -> Void
    ) throws(RuntimeError) {
        let statement = try prepared(sql)
        try statement.begin(values)
        defer { statement.end() }
        while let row = try statement.step() { try read(row) }
    }

    /// The same until `read` says false.
    func scan(
        _ sql: String, _ values: SQLValue..., read: (Row) throws(RuntimeError) -> Bool
    ) throws(RuntimeError) {
        let statement = try prepared(sql)
        try statement.begin(values)
        defer { statement.end() }
        while let row = try statement.step(), try read(row) {}
    }

    /// What `read` makes of the first row; nil where there is none.
    func first<Value>(
        _ sql: String, _ values: SQLValue..., read: (Row) throws(RuntimeError) -> Value
    ) throws(RuntimeError) -> Value? {
        let statement = try prepared(sql)
        try statement.begin(values)
        defer { statement.end() }
        guard let row = try statement.step() else { return nil }
        return try read(row)
    }

    var lastInsertedRow: Int64 { sqlite3_last_insert_rowid(handle) }

    /// False once an error has made SQLite give the whole transaction up by itself.
    var isInTransaction: Bool { sqlite3_get_autocommit(handle) == 0 }

    /// Pages that stood in the write-ahead log after the last commit over this connection, moved into the database or
    /// not; from ``countLog()`` on.
    var logPages: Int { Int(logged.pointee) }

    /// SQLite itself moves no log into the database any more when it commits: should that fail, the commit would be said
    /// to have failed, and would be there.
    func countLog() {
        sqlite3_wal_hook(handle, Self.noteLog, logged)
    }

    private static let noteLog:
        @convention(c) (UnsafeMutableRawPointer?, OpaquePointer?, UnsafePointer<CChar>?, Int32) -> Int32 = {
            $0?.assumingMemoryBound(to: Int32.self).pointee = $3
            return SQLITE_OK
        }

    /// From now on the end of the connection leaves the write-ahead log as it is.
    func keepLog() throws(RuntimeError) {
        guard igris_sqlite3_db_config(handle, Int32(SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE), 1) == SQLITE_OK else {
            throw SQLiteFailure.error(SQLITE_MISUSE)
        }
    }

    /// Moves what nobody reads any more from the write-ahead log into the database.
    func tidyLog() throws(RuntimeError) {
        let result = sqlite3_wal_checkpoint_v2(handle, nil, SQLITE_CHECKPOINT_PASSIVE, nil, nil)
        if result & 0xFF == SQLITE_BUSY || result & 0xFF == SQLITE_LOCKED { return }
        guard result == SQLITE_OK else { throw SQLiteFailure.error(result) }
    }

    /// Moves the write-ahead log into the database and empties it. False when a reader is in the way.
    func checkpoint() throws(RuntimeError) -> Bool {
        // A connection over which nothing was read yet has no log open: SQLite would move nothing, and call it done.
        try execute("PRAGMA schema_version")
        let result = sqlite3_wal_checkpoint_v2(handle, nil, SQLITE_CHECKPOINT_TRUNCATE, nil, nil)
        if result & 0xFF == SQLITE_BUSY || result & 0xFF == SQLITE_LOCKED { return false }
        guard result == SQLITE_OK else { throw SQLiteFailure.error(result) }
        return true
    }

    private func prepared(_ sql: String) throws(RuntimeError) -> Statement {
        if let statement = statements[sql] { return statement }
        let statement = try Statement(sql, on: handle)
        statements[sql] = statement
        return statement
    }

    /// A path as a `file:` URI, every unusual byte escaped. An absolute one follows an empty authority, so that two
    /// slashes at its start are no host's name.
    private static func uri(_ path: String) -> String {
        var text = path.hasPrefix("/") ? "file://" : "file:"
        for byte in path.utf8 {
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x2F, 0x5F, 0x7E:
                text.unicodeScalars.append(Unicode.Scalar(byte))
            default: text += "%" + [byte].hex
            }
        }
        return text
    }
}
