import Core

/// The tables, and how older ones become them.
///
/// Look-ups go by fingerprints (keyed hashes); everything else that says something is sealed. An operation's row number
/// is `origin's index << 40 | sequence`: one origin's operations lie together in their order, and this host's are
/// always appended.
enum Schema {
    /// "IGRS" in the file's header.
    static let application: Int64 = 0x4947_5253
    static var version: Int64 { Int64(migrations.count) }

    /// The statements that lead from version n to n + 1. What was released here is never changed, only followed.
    static let migrations: [String] = [
        """
        CREATE TABLE meta (id INTEGER PRIMARY KEY, store BLOB NOT NULL, state BLOB NOT NULL) STRICT;
        CREATE TABLE keys (
            version INTEGER PRIMARY KEY, kind INTEGER NOT NULL, made INTEGER NOT NULL, proof BLOB NOT NULL,
            wrapped BLOB NOT NULL
        ) STRICT;
        CREATE TABLE origins (
            id INTEGER PRIMARY KEY, node BLOB NOT NULL, epoch INTEGER NOT NULL, sealed BLOB NOT NULL,
            UNIQUE (node, epoch)
        ) STRICT;
        CREATE TABLE owners (id INTEGER PRIMARY KEY, fingerprint BLOB NOT NULL UNIQUE) STRICT;
        CREATE TABLE streams (
            id INTEGER PRIMARY KEY, fingerprint BLOB NOT NULL UNIQUE, owner INTEGER, updated INTEGER,
            sealed BLOB NOT NULL
        ) STRICT;
        CREATE INDEX streams_by_owner ON streams (owner, updated) WHERE owner IS NOT NULL;
        CREATE TABLE operations (
            id INTEGER PRIMARY KEY, stream INTEGER NOT NULL, kind INTEGER NOT NULL, sealed BLOB NOT NULL
        ) STRICT;
        CREATE INDEX operations_by_stream ON operations (stream);
        CREATE TABLE prefixes (hash INTEGER NOT NULL, operation INTEGER NOT NULL, PRIMARY KEY (hash, operation))
            STRICT, WITHOUT ROWID;
        """,
        // Seals before the latest of their origin, which is in its row. Numbered as the operations up to which they go.
        """
        CREATE TABLE seals (id INTEGER PRIMARY KEY, sealed BLOB NOT NULL) STRICT;
        """,
        // Which origin an index means, once more: without its row in `origins` no operation of it could be opened.
        """
        CREATE TABLE IF NOT EXISTS origin_names (
            id INTEGER PRIMARY KEY, node BLOB NOT NULL, epoch INTEGER NOT NULL
        ) STRICT;
        INSERT OR IGNORE INTO origin_names SELECT id, node, epoch FROM origins;
        """,
        // Among the keys lies that of the look-ups as well, as version 0, and the first data key may be gone: whoever
        // knows nothing of that finds nothing. It is put there once the keys are open (``StoreFile``).
        "",
    ]

    /// Brings the database to ``version``, each step in a transaction of its own.
    static func migrate(_ database: Database) throws(RuntimeError) {
        let found = try database.first("PRAGMA user_version") { $0.integer(0) } ?? 0
        try expectKnown(found)
        for (index, statements) in migrations.enumerated() where index >= found {
            try database.execute(
                "BEGIN IMMEDIATE; \(statements) PRAGMA application_id = \(application); "
                    + "PRAGMA user_version = \(index + 1); COMMIT")
        }
    }

    static func expectKnown(_ found: Int64) throws(RuntimeError) {
        guard (0...version).contains(found) else {
            throw RuntimeError(
                .configuration,
                "the store was written by a newer version of igris-runtime (format \(found), this one knows "
                    + "\(version)) and stays as it is: run that version, or give another storage_path")
        }
    }
}
