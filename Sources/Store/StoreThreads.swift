import Core
import Glibc
import Synchronization

/// The threads of one open store: what is asked in tasks is done there, one after the other.
final class StoreThreads: Sendable {
    private enum WriteJob: Sendable {
        case commit(Commit, CheckedContinuation<Void, any Error>)
        case other(@Sendable (StoreWriter) -> Void)
    }

    private enum SyncJob: Sendable {
        /// Their commits are in the log.
        case callers([CheckedContinuation<Void, any Error>])
        /// Nobody waits, but something is to reach the disk within ``Limits/storeLag``.
        case later
    }

    private typealias ReadJob = @Sendable (Result<StoreReader, RuntimeError>) -> Void

    let ring: KeyRing
    /// As ``StoreFile/Opened/mended`` says.
    let mended: [String]
    let snapshots = SnapshotShelf()
    private let file: StoreFile?
    private var path: String? { file?.path }
    private let log: LogSync?
    private let writes: Inbox<WriteJob>
    private let reads: Inbox<ReadJob>
    private let syncs = Inbox<SyncJob>(bound: Limits.storeQueue)
    /// A `later` is on its way already.
    private let isSyncDue = Atomic(false)
    /// Threads that have not ended, and who waits for that.
    private let ending: Mutex<(threads: Int, waiting: [CheckedContinuation<Void, Never>])>

    private init(
        _ opened: StoreFile.Opened, file: StoreFile?, writes: Inbox<WriteJob>, threads: Int, log: LogSync?
    ) {
        self.log = log
        ring = opened.ring
        mended = opened.mended
        self.file = file
        self.writes = writes
        reads = Inbox(bound: Limits.storeQueue)
        ending = Mutex((threads, []))
    }

    /// Opens the store on its writer's thread and starts the others.
    static func start(
        _ location: SQLiteContextStore.Location, key: StoreKey, node: NodeID, hostname: String,
        environment: StoreEnvironment
    ) async throws -> StoreThreads {
        let file: StoreFile? =
            switch location {
            case .file(let path): StoreFile(path: path, key: key, hostname: hostname, environment: environment)
            case .memory: nil
            }
        let writes = Inbox<WriteJob>(bound: Limits.storeQueue)
        let threads = try await withCheckedThrowingContinuation {
            (result: CheckedContinuation<StoreThreads, any Error>) in
            do {
                try WorkerThread.start {
                    write(file, node, environment, writes, started: result)
                }
            } catch {
                result.resume(throwing: error)
            }
        }
        guard let file else { return threads }
        var failure: RuntimeError?
        do throws(RuntimeError) {
            try WorkerThread.start { threads.syncLog() }
        } catch {
            failure = error
            threads.ended()
        }
        for _ in 0..<Limits.storeReaders {
            do throws(RuntimeError) {
                try WorkerThread.start { threads.read(file) }
            } catch {
                failure = error
                threads.ended()
            }
        }
        if let failure {
            threads.finish()
            throw failure
        }
        return threads
    }

    // MARK: - From tasks

    /// Where the store's files lie; nil in memory.
    var folder: String? { path.map(Folder.parent) }

    /// Returns once the commit is on disk, or, where it is relaxed, once it would outlive the process.
    func commit(_ commit: Commit) async throws {
        try await withCheckedThrowingContinuation { result in
            if let refusal = writes.put(.commit(commit, result)) { result.resume(throwing: refusal) }
        }
    }

    func write<Value: Sendable>(
        _ body: @escaping @Sendable (StoreWriter) throws(RuntimeError) -> Value
    ) async throws -> Value {
        try await withCheckedThrowingContinuation { (result: CheckedContinuation<Value, any Error>) in
            let refusal = writes.put(.other { writer in result.resume(with: Result { try body(writer) }) })
            if let refusal { result.resume(throwing: refusal) }
        }
    }

    /// On one state of the store. In memory there is but one connection, the writer's.
    func read<Value: Sendable>(
        _ body: @escaping @Sendable (StoreReader) throws(RuntimeError) -> Value
    ) async throws -> Value {
        guard path != nil else {
            return try await write { writer throws(RuntimeError) in try writer.reader.snapshot(body) }
        }
        return try await withCheckedThrowingContinuation { (result: CheckedContinuation<Value, any Error>) in
            let refusal = reads.put { reader in
                result.resume(with: Result { try reader.get().snapshot(body) })
            }
            if let refusal { result.resume(throwing: refusal) }
        }
    }

    /// Returns once everything asked of the writer before is written; from then on it leaves the log to grow, for a
    /// transaction that reads for long. Once for each ``endLongRead()``.
    func beginLongRead() async throws {
        try await write { writer throws(RuntimeError) in try writer.beginLongRead() }
    }

    /// The log may be emptied again: what is in it is moved into the database here first, on a thread that holds up
    /// nobody, so that little of it is left for the writer.
    func endLongRead() {
        let writes = writes
        let end: @Sendable (StoreWriter) -> Void = { $0.endLongRead() }
        let refusal = reads.put { [log] reader in
            if case .success(let reader) = reader, log?.failure == nil {
                do throws(RuntimeError) {
                    try reader.database.tidyLog()
                } catch {
                    log?.note(error)
                }
            }
            // Refused at the end only, when the log is emptied in any case.
            _ = writes.put(.other(end))
        }
        if refusal != nil { _ = writes.put(.other(end)) }
    }

    /// A connection of the caller's own.
    func openForReading() throws(RuntimeError) -> Database {
        guard let file else { throw RuntimeError(.internal, "a store in memory has one connection") }
        return try file.openForReading()
    }

    /// On disk, the write-ahead log included.
    func bytes() async throws -> Int {
        guard let path else { return 0 }
        return try await read { _ in
            ["", "-wal"].reduce(0) { sum, suffix in
                var status = stat()
                // Between two writes there may be no log.
                return stat(path + suffix, &status) == 0 ? sum + Int(status.st_size) : sum
            }
        }
    }

    /// Lets the threads end once they have done what was asked before. Returns when they have.
    func close() async {
        finish()
        await withCheckedContinuation { result in
            let isOver = ending.withLock { ending in
                if ending.threads > 0 { ending.waiting.append(result) }
                return ending.threads == 0
            }
            if isOver { result.resume() }
        }
    }

    /// The readers go first; the last of them sends the writer after them.
    func finish() {
        snapshots.removeAll()
        reads.finish()
        if path == nil { writes.finish() }
    }

    // MARK: - On the threads

    private static func write(
        _ file: StoreFile?, _ node: NodeID, _ environment: StoreEnvironment, _ writes: Inbox<WriteJob>,
        started: CheckedContinuation<StoreThreads, any Error>
    ) {
        // The connection and the lock go with the inner call, before anybody hears that this thread has ended.
        serve(file, node, environment, writes, started: started)?.ended()
    }

    /// Opens the store, and works for it until its inbox ends. Nil where it could not be opened.
    private static func serve(
        _ file: StoreFile?, _ node: NodeID, _ environment: StoreEnvironment, _ writes: Inbox<WriteJob>,
        started: CheckedContinuation<StoreThreads, any Error>
    ) -> StoreThreads? {
        do {
            let opened =
                try file.map { file throws(RuntimeError) in try file.open() }
                ?? StoreFile.inMemory(environment)
            let writer = try StoreWriter(opened, isInMemory: file == nil, node: node, environment: environment)
            let threads = StoreThreads(
                opened, file: file, writes: writes,
                threads: file == nil ? 1 : 2 + Limits.storeReaders, log: writer.log)
            started.resume(returning: threads)
            threads.work(writer, idle: environment.idle)
            threads.syncs.finish()
            return threads
        } catch {
            started.resume(throwing: error)
            return nil
        }
    }

    private func work(_ writer: StoreWriter, idle: Duration) {
        var isResting = false
        var lastGroup = 1
        var lastStep = ContinuousClock.now
        while true {
            let isRewriting = writer.wantsRewriting
            let patience = isRewriting ? Limits.storeRewritingBreath : isResting ? Limits.storeRound : idle
            switch writes.take(atMost: Limits.storeGroup, patience: patience, gathering: lastGroup) {
            case .jobs(let jobs):
                isResting = false
                lastGroup = jobs.count
                perform(jobs, writer)
                guard ContinuousClock.now - lastStep >= Limits.storeRewritingPace else { continue }
                lastStep = ContinuousClock.now
                if isRewriting { writer.rewriteSome() }
                writer.keepKeys()
            case .idle where isRewriting:
                lastStep = ContinuousClock.now
                writer.rewriteSome()
                isResting = false
            case .idle:
                if !isResting { isResting = writer.rest() }
                writer.keepKeys()
                snapshots.expire()
            case .end:
                writer.close()
                return
            }
        }
    }

    /// Commits that stand next to one another share a transaction.
    private func perform(_ jobs: [WriteJob], _ writer: StoreWriter) {
        var group: [Commit] = []
        var waiting: [CheckedContinuation<Void, any Error>] = []
        func flush() {
            guard !group.isEmpty else { return }
            var synced: [CheckedContinuation<Void, any Error>] = []
            var isDirty = false
            for (index, result) in writer.commit(group).enumerated() {
                if case .success = result, log != nil {
                    isDirty = true
                    if group[index].durability == .synced {
                        synced.append(waiting[index])
                        continue
                    }
                }
                waiting[index].resume(with: result.mapError { $0 })
            }
            if !synced.isEmpty {
                hand(synced)
            } else if isDirty, !isSyncDue.exchange(true, ordering: .relaxed) {
                // Refused only where the thread is far behind, or at the end: it syncs then in any case.
                _ = syncs.put(.later)
            }
            group = []
            waiting = []
        }
        for job in jobs {
            switch job {
            case .commit(let commit, let caller):
                group.append(commit)
                waiting.append(caller)
            case .other(let work):
                flush()
                work(writer)
            }
        }
        flush()
    }

    /// To the thread that waits for the disk.
    private func hand(_ callers: [CheckedContinuation<Void, any Error>]) {
        guard let refusal = syncs.put(.callers(callers)) else { return }
        for caller in callers { caller.resume(throwing: refusal) }
    }

    private func syncLog() {
        var isLate = false
        while true {
            var callers: [CheckedContinuation<Void, any Error>] = []
            switch syncs.take(atMost: Limits.storeQueue, patience: isLate ? Limits.storeLag : nil) {
            case .jobs(let jobs):
                for job in jobs { if case .callers(let more) = job { callers += more } }
                if callers.isEmpty {
                    isLate = true
                    continue
                }
            case .idle: break
            case .end:
                ended()
                return
            }
            isLate = false
            // Before the call: what is written during it may not be covered by it.
            isSyncDue.store(false, ordering: .sequentiallyConsistent)
            let result = Result { () throws(RuntimeError) in try log?.sync() }
            for caller in callers { caller.resume(with: result.map { _ in }.mapError { $0 }) }
        }
    }

    private func read(_ file: StoreFile) {
        work(file)
        ended()
    }

    /// Opens its connection with the first question, so that a start does not wait for it.
    private func work(_ file: StoreFile) {
        var reader: StoreReader?
        while case .jobs(let jobs) = reads.take(atMost: 1) {
            for job in jobs {
                do throws(RuntimeError) {
                    let ready: StoreReader
                    if let reader {
                        ready = reader
                    } else {
                        ready = StoreReader(database: try file.openForReading(), ring: ring)
                        reader = ready
                    }
                    job(.success(ready))
                } catch {
                    job(.failure(error))
                }
            }
        }
    }

    private func ended() {
        let (left, waiting) = ending.withLock { ending in
            ending.threads -= 1
            defer { if ending.threads == 0 { ending.waiting = [] } }
            return (ending.threads, ending.threads == 0 ? ending.waiting : [])
        }
        if left == 2 { writes.finish() }
        for caller in waiting { caller.resume() }
    }
}
