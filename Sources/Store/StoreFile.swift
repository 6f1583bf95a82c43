import Core
import Cryptography
import Glibc

/// Opens a store's file, or makes it; decides before anything is written whether this key opens it.
struct StoreFile {
    let path: String
    let key: StoreKey
    let hostname: String
    let environment: StoreEnvironment

    /// A store ready for use.
    struct Opened {
        let database: Database
        let ring: KeyRing
        let lock: FileLock?
        /// Nil in memory.
        let path: String?
        /// Rows that no longer opened and were made anew from others.
        var mended: [String] = []
    }

    private var lockPath: String { path + ".lock" }
    private var draftPath: String { path + ".new" }

    /// Throws ``RuntimeError``: `.wrongKey`, `.corrupt` and `.configuration` (newer format) leave every file as it is
    /// and make none; `.unavailable` with ``StoreInUse``; `.system`.
    func open() throws(RuntimeError) -> Opened {
        var lock = try FileLock.take(lockPath, creating: false)
        if try !exists() {
            try Folder.create(Folder.parent(of: path))
            if lock == nil { lock = try FileLock.take(lockPath, creating: true) }
            // Another instance may have made it since.
            if try !exists() { try create() }
        }
        let inspected = try inspect()
        if lock == nil { lock = try FileLock.take(lockPath, creating: true) }
        try tighten()
        let database = try Database(.file(path))
        try Self.configure(database, cacheKiB: 4096)
        try Schema.migrate(database)
        let envelope = try envelope(of: database, expecting: inspected)
        var mending = StoreMending(database, try KeyRing(store: envelope.store, keys: envelope.keys))
        try mending.run()
        let ring = try rotated(envelope, in: database)
        return Opened(database: database, ring: ring, lock: lock, path: path, mended: mending.mended)
    }

    /// A connection for reading beside the writer's.
    func openForReading() throws(RuntimeError) -> Database {
        let database = try Database(.file(path))
        try Self.configure(database, cacheKiB: 1024)
        try database.execute("PRAGMA query_only = ON")
        return database
    }

    /// A store that lives in memory and ends with the process.
    static func inMemory(_ environment: StoreEnvironment) throws(RuntimeError) -> Opened {
        let database = try Database(.memory)
        let ring = try KeyRing(store: try randomID(), keys: [1: try randomKey()])
        try Schema.migrate(database)
        try putState(StoreState(), ring, into: database)
        return Opened(database: database, ring: ring, lock: nil, path: nil)
    }

    // MARK: - Before anything is written

    /// False for a missing and for an empty file.
    private func exists() throws(RuntimeError) -> Bool {
        var status = stat()
        guard stat(path, &status) == 0 else {
            if errno == ENOENT { return false }
            throw SystemFailure.error("find the store")
        }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw RuntimeError(.configuration, "storage_path leads to something that is not a file")
        }
        return status.st_size > 0
    }

    /// Reads the header and the key rows without SQLite's locks and logs. Returns the store's id. The key rows are in
    /// the database file itself from the moment that it has its name.
    private func inspect() throws(RuntimeError) -> Bytes16 {
        try checkHeader()
        let database = try Database(.untouched(path))
        return try envelope(of: database, expecting: nil).store
    }

    private func checkHeader() throws(RuntimeError) {
        let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw SystemFailure.error("open the store") }
        defer { Glibc.close(descriptor) }
        var header = [UInt8](repeating: 0, count: 100)
        let count = Glibc.read(descriptor, &header, header.count)
        guard count >= 0 else { throw SystemFailure.error("read the store") }
        guard count == header.count, header.prefix(16).elementsEqual(Array("SQLite format 3".utf8) + [0]) else {
            throw RuntimeError(
                .corrupt,
                "the store is not a database and stays as it is: restore a copy, or give another storage_path")
        }
        let field = { (offset: Int) in header[offset..<offset + 4].reduce(Int64(0)) { $0 << 8 | Int64($1) } }
        guard field(68) == Schema.application else {
            throw RuntimeError(
                .corrupt,
                "the file at storage_path is a database of another program and stays as it is: give another "
                    + "storage_path")
        }
        try Schema.expectKnown(field(60))
    }

    private struct Envelope {
        let store: Bytes16
        let keys: [UInt8: SymmetricKey]
        let sealing: KeyEnvelope
        /// When the newest key was made, in seconds since 1970.
        let made: UInt64
    }

    /// Opens the key rows. Throws `.wrongKey` where this host's key is not theirs.
    private func envelope(of database: Database, expecting store: Bytes16?) throws(RuntimeError) -> Envelope {
        let damaged = RuntimeError(
            .corrupt, "the store's keys are damaged: restore a copy of the store, or give another storage_path")
        guard let id = try database.first("SELECT store FROM meta WHERE id = 1", read: { Bytes16($0.blob(0)) }) ?? nil,
            store == nil || store == id
        else { throw damaged }
        let sealing = try KeyEnvelope(key, store: id, hostname: hostname)
        var keys: [UInt8: SymmetricKey] = [:]
        var made: UInt64 = 0
        try database.forEach("SELECT version, kind, made, proof, wrapped FROM keys ORDER BY version") {
            row throws(RuntimeError) in
            guard let version = UInt8(exactly: row.integer(0)) else { throw damaged }
            guard let key = sealing.unwrap(row.blob(4), version: version) else {
                if ConstantTime.equals(row.blob(3), sealing.check) { throw damaged }
                throw sealing.refusal(sealed: KeyEnvelope.Kind(rawValue: row.integer(1)))
            }
            keys[version] = key
            made = row.bits(2)
        }
        guard !keys.isEmpty else { throw damaged }
        return Envelope(store: id, keys: keys, sealing: sealing, made: made)
    }

    // MARK: - Making

    /// Makes the whole database under another name, then gives it its own: a file at `path` is always complete.
    private func create() throws(RuntimeError) {
        for leftover in [draftPath, draftPath + "-journal"] { unlink(leftover) }
        let descriptor = Glibc.open(draftPath, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw SystemFailure.error("make the store") }
        Glibc.close(descriptor)
        do {
            let database = try Database(.file(draftPath))
            try database.execute(
                """
                PRAGMA page_size = \(environment.pageSize); PRAGMA auto_vacuum = INCREMENTAL;
                PRAGMA synchronous = EXTRA; PRAGMA secure_delete = ON
                """)
            try Schema.migrate(database)
            let store = try Self.randomID()
            let sealing = try KeyEnvelope(key, store: store, hostname: hostname)
            let ring = try KeyRing(store: store, keys: [1: try addKey(version: 1, sealing, to: database)])
            try Self.putState(StoreState(), ring, into: database)
        }
        guard rename(draftPath, path) == 0 else { throw SystemFailure.error("name the store") }
        try Folder.sync(Folder.parent(of: path))
    }

    private static func putState(
        _ state: StoreState, _ ring: KeyRing, into database: Database
    ) throws(RuntimeError) {
        try database.run(
            "INSERT INTO meta (id, store, state) VALUES (1, ?, ?)", .blob(ring.store.bytes),
            .blob(try ring.seal(state.encoded, as: .state)))
    }

    // MARK: - Keys

    /// The ring, with a fresh data key when the newest has served its time. The first key of a store never goes, and
    /// with 255 used up the last one goes on.
    private func rotated(_ envelope: Envelope, in database: Database) throws(RuntimeError) -> KeyRing {
        let ring = try KeyRing(store: envelope.store, keys: envelope.keys)
        var state = try StoreReader(database: database, ring: ring).state()
        let isOld = environment.seconds >= envelope.made.addingReportingOverflow(Limits.secondsPerKey).partialValue
        guard isOld || state.records >= Limits.recordsPerKey, ring.current < UInt8.max else { return ring }
        let version = ring.current + 1
        var keys = envelope.keys
        try database.execute("BEGIN IMMEDIATE")
        keys[version] = try addKey(version: version, envelope.sealing, to: database)
        let fresh = try KeyRing(store: envelope.store, keys: keys)
        state.records = 0
        try database.run("UPDATE meta SET state = ? WHERE id = 1", .blob(try fresh.seal(state.encoded, as: .state)))
        try database.execute("COMMIT")
        return fresh
    }

    private func addKey(
        version: UInt8, _ sealing: KeyEnvelope, to database: Database
    ) throws(RuntimeError) -> SymmetricKey {
        let key = try Self.randomKey()
        try database.run(
            "INSERT INTO keys (version, kind, made, proof, wrapped) VALUES (?, ?, ?, ?, ?)", .integer(Int64(version)),
            .integer(sealing.kind.rawValue), .bits(environment.seconds), .blob(sealing.check),
            .blob(try sealing.wrap(key, version: version)))
        return key
    }

    private static func randomKey() throws(RuntimeError) -> SymmetricKey {
        do {
            return try SymmetricKey(random: AESGCM.keyBytes)
        } catch {
            throw RuntimeError(.system, "no random bytes can be had for the store", cause: error)
        }
    }

    private static func randomID() throws(RuntimeError) -> Bytes16 {
        guard let id = Bytes16(try randomKey().reveal()) else { throw RuntimeError(.internal, "a key is too short") }
        return id
    }

    // MARK: - Connections

    /// Others of this machine have no business with the file; SQLite gives its log the same mode.
    private func tighten() throws(RuntimeError) {
        guard chmod(path, 0o600) == 0 || errno == EPERM else { throw SystemFailure.error("protect the store") }
    }

    /// The settings of every connection, and the proof that those took which durability hangs on: with them the log is
    /// synced before it is moved into the database, and ``LogSync`` syncs it for each commit that waits for it. There is no memory
    /// mapping: a page that the disk cannot read would then end the process instead of failing one call.
    private static func configure(_ database: Database, cacheKiB: Int) throws(RuntimeError) {
        let mode = try database.first("PRAGMA journal_mode = WAL") { $0.text(0) }
        try database.execute(
            """
            PRAGMA synchronous = NORMAL; PRAGMA secure_delete = ON; PRAGMA trusted_schema = OFF;
            PRAGMA wal_autocheckpoint = 2000; PRAGMA journal_size_limit = 16777216; PRAGMA mmap_size = 0;
            PRAGMA cache_size = -\(cacheKiB)
            """)
        let synchronous = try database.first("PRAGMA synchronous") { $0.integer(0) }
        guard mode == "wal", synchronous == 1 else {
            throw RuntimeError(
                .system, "the store's disk does not allow a write-ahead log; put storage_path on a local disk")
        }
    }
}
