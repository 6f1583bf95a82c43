import Core
import Glibc
import Synchronization

/// Brings SQLite's write-ahead log to disk. SQLite itself does so only when it moves the log into the database
/// (synchronous = NORMAL): a commit is in the log then and outlives the process, and whoever must be sure of the disk
/// waits for this, on another thread than the one that writes. The log is a prefix of what was written, so one call
/// covers every commit before it.
final class LogSync: Sendable {
    private let path: String
    private let flush: @Sendable (Int32) -> Int32
    private let state = Mutex<(descriptor: Int32?, failure: RuntimeError?)>((nil, nil))

    /// - Parameters:
    ///   - path: the database's.
    ///   - flush: brings a descriptor's file to disk; 0 for success.
    init(path: String, flush: @escaping @Sendable (Int32) -> Int32) {
        self.path = path + "-wal"
        self.flush = flush
    }

    deinit {
        if let descriptor = state.withLock({ $0.descriptor }) { Glibc.close(descriptor) }
    }

    /// Why nothing may be written any more: a disk that has failed to keep something may say yes the next time
    /// without having it, so nothing is trusted until the store is opened again.
    var failure: RuntimeError? { state.withLock { $0.failure } }

    /// The log could not be moved into the database. A full disk may have room again later; whatever else went wrong
    /// may have been a sync.
    func note(_ error: RuntimeError) {
        guard error.code != .storageFull else { return }
        state.withLock { $0.failure = $0.failure ?? error }
    }

    /// Before a database is opened: writes what its log holds over itself, and to disk. Where a sync has failed before,
    /// memory may hold parts of the log that the disk does not have and no other sync would bring there (Rebello et al.
    /// 2020, "Can Applications Recover from fsync Failures?"): what is appended after them would be lost with them.
    static func renew(_ path: String) throws(RuntimeError) {
        let descriptor = Glibc.open(path + "-wal", O_RDWR | O_NOFOLLOW | O_CLOEXEC)
        guard descriptor >= 0 else {
            if errno == ENOENT { return }
            throw SystemFailure.error("open the store's log")
        }
        defer { Glibc.close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 1024 * 1024)
        var offset: off_t = 0
        while true {
            let count = pread(descriptor, &bytes, bytes.count, offset)
            guard count >= 0 else { throw SystemFailure.error("read the store's log") }
            guard count > 0 else { break }
            guard pwrite(descriptor, bytes, count, offset) == count else {
                // Where writing over what is there takes room, a full disk must not keep the store from opening.
                if errno == ENOSPC || errno == EDQUOT { break }
                throw SystemFailure.error("write the store's log")
            }
            offset += off_t(count)
        }
        guard offset > 0 else { return }
        guard fdatasync(descriptor) == 0 else { throw SystemFailure.error("write the store to disk") }
    }

    /// Blocks until everything committed before is on disk.
    func sync() throws(RuntimeError) {
        let descriptor = try opened()
        try failpointThrowing("store.flush.before")
        guard flush(descriptor) != 0 else { return failpoint("store.flush.after") }
        let error = SystemFailure.error("write the store to disk, which may be failing; restart once it is well")
        state.withLock { $0.failure = $0.failure ?? error }
        throw error
    }

    /// The log keeps its file as long as the writer has its connection. SQLite's locks are on other files, so closing
    /// this descriptor takes none away.
    private func opened() throws(RuntimeError) -> Int32 {
        let opened = state.withLock { state -> Result<Int32, RuntimeError> in
            if let failure = state.failure { return .failure(failure) }
            if let descriptor = state.descriptor { return .success(descriptor) }
            let descriptor = Glibc.open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)
            guard descriptor >= 0 else { return .failure(SystemFailure.error("open the store's log")) }
            do throws(RuntimeError) {
                // SQLite brings the name of a fresh log to disk with its first sync, and says nothing where that fails.
                try Folder.sync(Folder.parent(of: path))
            } catch {
                Glibc.close(descriptor)
                return .failure(error)
            }
            state.descriptor = descriptor
            return .success(descriptor)
        }
        return try opened.get()
    }
}
