import Core
import Cryptography
import Synchronization

/// A backup in the making: one state of the store, whatever is written meanwhile, sealed as it is read. Nothing of it is
/// kept here: whoever asks for the next bytes writes them where they belong.
///
/// It reads over a connection of its own, in one transaction. That holds up no writer; only the write-ahead log cannot
/// be emptied as long, and content that is deleted meanwhile stays in it (sealed) until the backup ends. Dropping the
/// last reference ends it.
package final class StoreBackup: Sendable {
    private struct Work {
        var walk: BackupWalk
        var sealer: ArchiveSealer
        var head: [UInt8]
        var isOver = false
    }

    /// Of what one call gives.
    private static let pieceBytes = 256 * 1024

    private let work: Mutex<Work?>
    private let threads: StoreThreads

    private init(_ work: sending Work, _ threads: StoreThreads) {
        self.work = Mutex(work)
        self.threads = threads
    }

    deinit {
        // Ends the transaction first.
        work.withLock { $0 = nil }
        threads.endLongRead()
    }

    fileprivate static func begin(
        _ threads: StoreThreads, secret: ArchiveSecret, version: String, seconds: UInt64
    ) async throws -> StoreBackup {
        // scrypt takes its time: on a thread that may.
        let (header, key) = try await threads.read { _ throws(RuntimeError) in
            try ArchiveHeader.make(for: secret, at: seconds)
        }
        // What was handed to the writer before is written when this returns, and so it is in the backup.
        try await threads.beginLongRead()
        do {
            return try await threads.read { _ throws(RuntimeError) in
                let database = try threads.openForReading()
                try database.execute("BEGIN")
                let reader = StoreReader(database: database, ring: threads.ring)
                // The transaction sees what is there at its first look.
                _ = try reader.state()
                return StoreBackup(
                    Work(
                        walk: BackupWalk(reader, version: version), sealer: ArchiveSealer(header, key: key),
                        head: header.encoded), threads)
            }
        } catch {
            threads.endLongRead()
            throw error
        }
    }

    /// The archive's next bytes; nil at its end. Asked for by one after the other.
    package func next() async throws -> [UInt8]? {
        try await threads.read { [self] _ throws(RuntimeError) in
            try work.withLock { work throws(RuntimeError) in try Self.advance(&work) }
        }
    }

    private static func advance(_ work: inout Work?) throws(RuntimeError) -> [UInt8]? {
        guard var present = work, !present.isOver else {
            // Ends the transaction.
            work = nil
            return nil
        }
        failpoint("backup.chunk")
        var output = present.head
        present.head = []
        while output.count < pieceBytes {
            guard let records = try present.walk.step() else {
                output += try present.sealer.finish()
                present.isOver = true
                break
            }
            for record in records { present.sealer.put(record) }
            output += try present.sealer.sealed()
        }
        work = present
        return output
    }
}

extension SQLiteContextStore {
    /// Begins a backup; all that was acknowledged before is in it.
    ///
    /// - Parameters:
    ///   - version: of this program.
    ///   - seconds: since 1970.
    package func makeBackup(
        sealedBy secret: ArchiveSecret, version: String, at seconds: UInt64
    ) async throws -> StoreBackup {
        let threads = try threads
        guard threads.folder != nil else {
            throw RuntimeError(
                .configuration, "this host keeps its conversations in memory only (mcp.persist is false)")
        }
        return try await StoreBackup.begin(threads, secret: secret, version: version, seconds: seconds)
    }
}
