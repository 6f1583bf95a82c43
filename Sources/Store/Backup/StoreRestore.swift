package import Core
import Cryptography
import Glibc

/// Makes a store of a backup: with an id and data keys of its own, so that nothing of the store it was taken from opens
/// the new one, nor the other way round.
///
/// It never passes for the store that its host wrote last: it says that its last writer left without a goodbye, and its
/// id agrees with no mark that lies beside the host's key (``EpochMark``). So the host begins a new epoch at its next
/// start, and gets what came after the backup from the others as if another host had written it (swarm.md §1).
package struct StoreRestore {
    private let path: String
    private let key: StoreKey
    private let hostname: String
    private let anchorFolder: String?

    package struct Result: Sendable {
        package var summary: ArchiveSummary
        /// Where the store that was there before lies now.
        package var aside: String?
    }

    package init(path: String, key: StoreKey, hostname: String, anchorFolder: String? = nil) {
        self.path = path
        self.key = key
        self.hostname = hostname
        self.anchorFolder = anchorFolder
    }

    /// Throws as ``ArchiveFile/verify(opening:)``; `.configuration` where a store is there and not to be put aside,
    /// `.unavailable` while a daemon uses it. Whatever is thrown, what is there stays as it is.
    ///
    /// - Parameter seconds: since 1970.
    package func run(
        _ archive: ArchiveFile, opening secret: (ArchiveHeader) throws(RuntimeError) -> ArchiveSecret, replacing: Bool,
        at seconds: UInt64
    ) throws(RuntimeError) -> Result {
        try Folder.create(Folder.parent(of: path))
        let lock = try FileLock.take(path + ".lock", creating: true)
        // Held to the end of this call.
        defer { withExtendedLifetime(lock) {} }
        var status = stat()
        let isThere = lstat(path, &status) == 0 && status.st_size > 0
        guard !isThere || replacing else {
            throw RuntimeError(
                .configuration,
                "there is a store already, \(path): --force puts it aside under another name, or give another "
                    + "mcp.storage_path")
        }
        var environment = StoreEnvironment.current()
        environment.seconds = seconds
        environment.anchorFolder = anchorFolder
        let file = StoreFile(path: path, key: key, hostname: hostname, environment: environment)
        let draft = file.draftPath
        var isNamed = false
        defer { if !isNamed { file.removeDraft() } }
        let summary = try file.fillDraft { database, ring throws(RuntimeError) in
            var writer = RestoredRows(database, ring)
            return try writer.run(archive, opening: secret)
        }
        let aside = try isThere ? putAside(at: seconds) : nil
        failpoint("restore.rename.before")
        guard rename(draft, path) == 0 else { throw SystemFailure.error("name the store") }
        failpoint("restore.rename.after")
        isNamed = true
        try Folder.sync(Folder.parent(of: path))
        return Result(summary: summary, aside: aside)
    }
}

extension StoreRestore {
    /// Gives the store that is there a second name. Its own goes on leading to a whole store, the one or the other,
    /// whenever this is cut off.
    private func putAside(at seconds: UInt64) throws(RuntimeError) -> String {
        let first = "\(path).before-\(seconds)"
        var name = first
        var status = stat()
        // Two restores may fall into one second.
        for number in 2..<1_000 where lstat(name, &status) == 0 { name = "\(first)-\(number)" }
        // Its log is moved into it, and goes with the last connection.
        if let database = try? Database(.file(path)) { _ = try? database.checkpoint() }
        var log = stat()
        if stat(path + "-wal", &log) != 0 || log.st_size == 0, link(path, name) == 0 {
            for suffix in ["-wal", "-shm"] { unlink(path + suffix) }
            return name
        }
        // It is no database any more, or the file system knows no second names.
        for suffix in ["-wal", ""] where rename(path + suffix, name + suffix) != 0 && errno != ENOENT {
            throw SystemFailure.error("put the old store aside")
        }
        unlink(path + "-shm")
        return name
    }
}

/// Writes an archive's rows into the tables of a new store.
private struct RestoredRows {
    private static let group = 4_096

    private let database: Database
    private let ring: KeyRing
    private var owners: [Owner: Int64] = [:]
    private var pending = 0
    private var state = StoreState()

    init(_ database: Database, _ ring: KeyRing) {
        self.database = database
        self.ring = ring
    }

    mutating func run(
        _ archive: ArchiveFile, opening secret: (ArchiveHeader) throws(RuntimeError) -> ArchiveSecret
    ) throws(RuntimeError) -> ArchiveSummary {
        try database.execute("BEGIN IMMEDIATE")
        let summary = try archive.forEachRow(opening: secret) { row, _ throws(RuntimeError) in
            try put(row)
            pending += 1
            guard pending >= Self.group else { return }
            pending = 0
            try database.execute("COMMIT; BEGIN IMMEDIATE")
        }
        state.node = summary.node
        state.epoch = summary.epoch
        // Whoever starts on it does not know what was said since.
        state.isClean = false
        state.conversations = summary.conversations
        state.operations = summary.counts.operations
        try database.run("UPDATE meta SET state = ? WHERE id = 1", .blob(try ring.seal(state.encoded, as: .state)))
        try database.execute("COMMIT")
        try proveAll(summary)
        return summary
    }

    private mutating func put(_ row: ArchiveCheck.Row) throws(RuntimeError) {
        switch row {
        case .head, .end: return
        case .origin(let row):
            let (node, epoch) = (SQLValue.blob(row.origin.node.bytes.bytes), SQLValue.integer(Int64(row.origin.epoch)))
            try database.run(
                "INSERT INTO origins (id, node, epoch, sealed) VALUES (?, ?, ?, ?)", .integer(row.index), node, epoch,
                .blob(try ring.seal(row.encoded, as: .origin(row.index, row.origin))))
            try database.run(
                "INSERT OR REPLACE INTO origin_names (id, node, epoch) VALUES (?, ?, ?)", .integer(row.index), node,
                epoch)
        case .stream(let index, let row):
            var owner = SQLValue.null
            var updated = SQLValue.null
            if let header = row.header {
                owner = .integer(try self.owner(header.owner))
                updated = .bits(header.updated.rawValue)
            }
            try database.run(
                "INSERT INTO streams (id, fingerprint, owner, updated, sealed) VALUES (?, ?, ?, ?, ?)",
                .integer(index), .blob(ring.fingerprint("stream", of: row.stream.bytes.bytes)), owner, updated,
                .blob(try ring.seal(row.encoded, as: .stream(index))))
        case .operation(let row, let id, let stream, let content):
            let operation = row.operation
            try database.run(
                "INSERT INTO operations (id, stream, kind, sealed) VALUES (?, ?, ?, ?)", .integer(id),
                .integer(stream), .integer(Int64(operation.kind.rawValue)),
                .blob(
                    try ring.seal(content, as: .operation(operation.dot, operation.kind, operation.stream))))
            for prefix in row.prefixes {
                try database.run(
                    "INSERT OR IGNORE INTO prefixes (hash, operation) VALUES (?, ?)", .bits(prefix), .integer(id))
            }
        case .seal(let dot, let id, let signature):
            try database.run(
                "INSERT INTO seals (id, sealed) VALUES (?, ?)", .integer(id),
                .blob(try ring.seal(signature, as: .seal(dot))))
        }
        state.records += 1
    }

    private mutating func owner(_ owner: Owner) throws(RuntimeError) -> Int64 {
        if let index = owners[owner] { return index }
        try database.run(
            "INSERT INTO owners (fingerprint) VALUES (?)", .blob(ring.fingerprint("owner", of: Array(owner.name.utf8))))
        owners[owner] = database.lastInsertedRow
        return database.lastInsertedRow
    }

    /// Reads all of it back out of the new store.
    private func proveAll(_ summary: ArchiveSummary) throws(RuntimeError) {
        let reader = StoreReader(database: database, ring: ring)
        var walk = BackupWalk(reader, version: "")
        while try walk.step() != nil {}
        var expected = summary.counts
        expected.left = 0
        guard walk.counts == expected else {
            throw RuntimeError(
                .internal,
                "of \(expected.rows) rows that were restored \(walk.counts.rows) can be read back: the disk may be failing"
            )
        }
    }
}
