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
        /// How data keys are sealed, and when the newest was made. Nil in memory.
        var sealing: KeyEnvelope?
        var keyMade: UInt64 = 0
        var resealing: KeyResealing?
    }

    private var lockPath: String { path + ".lock" }
    var draftPath: String { path + ".new" }

    /// Throws ``RuntimeError``: `.wrongKey`, `.corrupt` and `.configuration` (newer format) leave every file as it is
    /// and make none; `.unavailable` with ``StoreInUse``; `.system`.
    func open() throws(RuntimeError) -> Opened {
        failpoint("store.open")
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
        try LogSync.renew(path)
        let database = try Database(.file(path))
        try Self.configure(database, cacheKiB: 4096)
        try Schema.migrate(database)
        let envelope = try envelope(of: database, expecting: inspected)
        var mending = StoreMending(database, try KeyRing(store: envelope.store, keys: envelope.keys))
        try mending.run()
        let ring = try KeyRing(store: envelope.store, keys: envelope.keys)
        if envelope.keys[KeyRing.indexVersion] == nil {
            try Self.put(
                ring.indexKey, version: KeyRing.indexVersion, made: environment.seconds, envelope.sealing,
                into: database)
        }
        var opened = Opened(
            database: database, ring: ring, lock: lock, path: path, mended: mending.mended, sealing: envelope.sealing,
            keyMade: envelope.made)
        opened.resealing = KeyResealing(
            key: key, hostname: hostname, store: envelope.store, anchor: anchor(of: envelope.store))
        return opened
    }

    /// A connection for reading beside the writer's.
    func openForReading() throws(RuntimeError) -> Database {
        let database = try Database(.file(path))
        try Self.configure(database, cacheKiB: 1024)
        try database.execute("PRAGMA query_only = ON")
        try database.keepLog()
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

    /// Reads the header and the key rows, and leaves every file as it is. Returns the store's id. The key rows are in
    /// the database file itself from the moment that it has its name; but where there is a log, the power may have gone
    /// while pages were moved out of it, and then the file alone is neither the old state nor the new one.
    private func inspect() throws(RuntimeError) -> Bytes16 {
        try checkHeader()
        var log = stat()
        let hasLog = stat(path + "-wal", &log) == 0 && log.st_size > 0
        let database = try Database(hasLog ? .untouchedWithLog(path) : .untouched(path))
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

    private func anchor(of store: Bytes16) -> KeyAnchor? {
        guard case .device = key else { return nil }
        return environment.anchorFolder.map { KeyAnchor(folder: $0, store: store) }
    }

    /// What the key rows are sealed with: of the anchors the one that fits, or none, as in stores that were made before
    /// there were any.
    private func sealing(of database: Database, store: Bytes16) throws(RuntimeError) -> KeyEnvelope {
        let proof = try database.first("SELECT proof FROM keys ORDER BY version LIMIT 1") { $0.blob(0) } ?? []
        let anchors = try anchor(of: store)?.load() ?? []
        for candidate in anchors {
            let sealing = try KeyEnvelope(key, store: store, hostname: hostname, anchor: candidate)
            if ConstantTime.equals(sealing.check, proof) { return sealing }
        }
        return try KeyEnvelope(key, store: store, hostname: hostname)
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
        let sealing = try sealing(of: database, store: id)
        var keys: [UInt8: SymmetricKey] = [:]
        var made: [UInt8: UInt64] = [:]
        try database.forEach("SELECT version, kind, made, proof, wrapped FROM keys ORDER BY version") {
            row throws(RuntimeError) in
            guard let version = UInt8(exactly: row.integer(0)) else { throw damaged }
            guard let key = sealing.unwrap(row.blob(4), version: version) else {
                if ConstantTime.equals(row.blob(3), sealing.check) { throw damaged }
                throw sealing.refusal(sealed: KeyEnvelope.Kind(rawValue: row.integer(1)))
            }
            keys[version] = key
            made[version] = row.bits(2)
        }
        guard let newest = KeyRing.newest(of: keys.keys) else { throw damaged }
        return Envelope(store: id, keys: keys, sealing: sealing, made: made[newest] ?? 0)
    }

    // MARK: - Making

    /// Makes the whole database under another name, then gives it its own: a file at `path` is always complete.
    private func create() throws(RuntimeError) {
        try fillDraft { _, _ in }
        failpoint("store.make.before")
        guard rename(draftPath, path) == 0 else { throw SystemFailure.error("name the store") }
        try Folder.sync(Folder.parent(of: path))
        failpoint("store.make.after")
    }

    /// Makes a new store under another name, with what `fill` puts into it; on disk when this returns.
    func fillDraft<Value>(
        _ fill: (Database, KeyRing) throws(RuntimeError) -> Value
    ) throws(RuntimeError) -> Value {
        removeDraft()
        let descriptor = Glibc.open(draftPath, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw SystemFailure.error("make the store") }
        defer { Glibc.close(descriptor) }
        let value = try fillTables(fill)
        guard fsync(descriptor) == 0 else { throw SystemFailure.error("write the store to disk") }
        return value
    }

    private func fillTables<Value>(
        _ fill: (Database, KeyRing) throws(RuntimeError) -> Value
    ) throws(RuntimeError) -> Value {
        let database = try Database(.file(draftPath))
        // Nobody knows of the draft: should anything fail, it is thrown away.
        try database.execute(
            """
            PRAGMA page_size = \(environment.pageSize); PRAGMA auto_vacuum = INCREMENTAL;
            PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF; PRAGMA secure_delete = ON
            """)
        try Schema.migrate(database)
        let store = try Self.randomID()
        let anchor = try anchor(of: store).map { anchor throws(RuntimeError) in
            let fresh = try Self.randomKey()
            try anchor.save([fresh])
            return fresh
        }
        let sealing = try KeyEnvelope(key, store: store, hostname: hostname, anchor: anchor)
        let ring = try KeyRing(
            store: store,
            keys: [
                KeyRing.indexVersion: try addKey(version: KeyRing.indexVersion, sealing, to: database),
                1: try addKey(version: 1, sealing, to: database),
            ])
        try Self.putState(StoreState(), ring, into: database)
        return try fill(database, ring)
    }

    func removeDraft() { for leftover in [draftPath, draftPath + "-journal"] { unlink(leftover) } }

    private static func putState(
        _ state: StoreState, _ ring: KeyRing, into database: Database
    ) throws(RuntimeError) {
        try database.run(
            "INSERT INTO meta (id, store, state) VALUES (1, ?, ?)", .blob(ring.store.bytes),
            .blob(try ring.seal(state.encoded, as: .state)))
    }

    // MARK: - Keys

    private func addKey(
        version: UInt8, _ sealing: KeyEnvelope, to database: Database
    ) throws(RuntimeError) -> SymmetricKey {
        let key = try Self.randomKey()
        try Self.put(key, version: version, made: environment.seconds, sealing, into: database)
        return key
    }

    static func put(
        _ key: SymmetricKey, version: UInt8, made: UInt64, _ sealing: KeyEnvelope, into database: Database
    ) throws(RuntimeError) {
        try database.run(
            "INSERT INTO keys (version, kind, made, proof, wrapped) VALUES (?, ?, ?, ?, ?)", .integer(Int64(version)),
            .integer(sealing.kind.rawValue), .bits(made), .blob(sealing.check),
            .blob(try sealing.wrap(key, version: version)))
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
            PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 16777216; PRAGMA mmap_size = 0;
            PRAGMA cache_size = -\(cacheKiB)
            """)
        let synchronous = try database.first("PRAGMA synchronous") { $0.integer(0) }
        guard mode == "wal", synchronous == 1 else {
            throw RuntimeError(
                .system, "the store's disk does not allow a write-ahead log; put storage_path on a local disk")
        }
    }
}
