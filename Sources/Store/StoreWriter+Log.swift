import Core

/// The write-ahead log: it is emptied when nothing is written for a while, and at once where something in it must go.
extension StoreWriter {
    /// Empties the write-ahead log once nothing is written for a while. False where it is to be tried again soon.
    func rest() -> Bool {
        guard hasLog, !isInMemory, longReads == 0 else { return true }
        // What cannot be done now is done at the next rest; nothing is lost by waiting.
        guard checkpoint() else { return !mustErase }
        hasLog = false
        guard mustErase else { return true }
        mustErase = false
        // The freed pages were overwritten already; this only gives their room back.
        try? database.run("PRAGMA incremental_vacuum(1000)")
        _ = checkpoint()
        return true
    }

    /// Moves the log, which still holds deleted records, into the database and empties it: at once, or within a
    /// second where more is being written.
    func emptyLog(now: Bool) {
        let time = ContinuousClock.now
        guard longReads == 0, now || emptied.map({ time - $0 >= Limits.storeLag }) ?? true else { return }
        emptied = time
        // A reader in the way, or a full disk: then at the next rest.
        _ = checkpoint()
    }

    /// Something that must not stay in the log was written over.
    func eraseLog() {
        hasLog = true
        mustErase = true
        emptyLog(now: true)
    }

    func checkpoint() -> Bool {
        // A log that may have a hole on disk must not be moved half: it stays for the next start (``LogSync``).
        guard log?.failure == nil else { return false }
        failpoint("store.checkpoint.before")
        do {
            guard try database.checkpoint() else { return false }
        } catch {
            log?.note(error)
            return false
        }
        failpoint("store.checkpoint.after")
        // It waits for those who read an older state.
        if !destroyed.isEmpty { ring.forget(destroyed) }
        destroyed = []
        // The key rows are looked at without the log at a start (``StoreFile``): only now the older ones are gone.
        if holdsOldAnchor, let sealing, (try? resealing?.settle(on: sealing)) != nil { holdsOldAnchor = false }
        return true
    }

    /// Once the log is long what nobody reads any more is moved out of it.
    func tidyLog() {
        guard !isInMemory, longReads == 0, database.logPages >= longLog, log?.failure == nil else { return }
        do {
            try database.tidyLog()
        } catch {
            log?.note(error)
        }
    }

    /// As ``StoreThreads/beginLongRead()`` says. Looking at a log that cannot be emptied after every commit would take
    /// longer with each (``tidyLog()``).
    func beginLongRead() throws(RuntimeError) {
        guard longReads < Limits.storeLongReads else {
            throw RuntimeError(
                .overloaded, "\(longReads) backups are being made already; try again once one has ended",
                retryAfter: .seconds(10))
        }
        longReads += 1
    }

    func endLongRead() {
        longReads -= 1
        guard longReads == 0 else { return }
        hasLog = true
        if mustErase { emptyLog(now: true) }
    }
}
