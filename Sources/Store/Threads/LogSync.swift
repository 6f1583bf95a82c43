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

    /// Blocks until everything committed before is on disk.
    func sync() throws(RuntimeError) {
        let descriptor = try opened()
        guard flush(descriptor) != 0 else { return }
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
            state.descriptor = descriptor
            return .success(descriptor)
        }
        return try opened.get()
    }
}
