import Core

/// What a start goes on from.
extension StoreWriter {
    /// Decides this start's origin (swarm.md §1), and notes that a writer is at work.
    func recover() throws(RuntimeError) -> RecoveredLog {
        try refreshIfStale()
        if let origin { return recovered(as: origin) }
        var next = state
        next.node = node
        next.epoch = try nextEpoch()
        next.isClean = false
        next.runs += 1
        failpoint("store.recover.before")
        if let folder = environment.identityFolder, !isInMemory {
            // Should the next step fail, the mark is ahead of the store: one epoch more is begun for nothing.
            let mark = mark(next.epoch, runs: next.runs)
            try mark.save(directory: folder)
            mark.saveVolatile(folder: environment.volatileFolder)
        }
        try write(next)
        state = next
        hasLog = true
        // Before anything is numbered, the disk knows that something may have been.
        try log?.sync()
        failpoint("store.recover.after")
        let origin = Origin(node: node, epoch: next.epoch)
        self.origin = origin
        return recovered(as: origin)
    }

    private func mark(_ epoch: UInt32, runs: UInt64) -> EpochMark {
        EpochMark(store: ring.store, epoch: epoch, runs: runs, file: fileNumber)
    }

    /// Peers may hold what the disk refused; and this host goes on in the epoch after it, whose first batches may be
    /// refused as well. The mark is smaller than any commit: it may find the room that the store did not.
    func noteRefusal(of commit: Commit) {
        let epochs = commit.operations.compactMap { $0.dot.origin.node == node ? $0.dot.origin.epoch : nil }
        guard let epoch = epochs.max() else { return }
        hasRefused = true
        guard let folder = environment.identityFolder, !isInMemory, epoch < .max else { return }
        // Where this fails too, the start's own bump is all there is.
        try? mark(epoch + 1, runs: state.runs).save(directory: folder)
    }

    /// The epoch that goes on, or a new one where this host may have numbered operations that are not here: its
    /// batches reach peers before the disk, so any stop without a goodbye counts; so does every start at which nothing
    /// proves that the whole disk, with all that is said of it, is not an older copy of itself.
    ///
    /// A new one takes its number from the clock, where that is ahead: what was numbered after the copy was made may
    /// have begun new epochs as well, and counting up from the copy's would meet them.
    private func nextEpoch() throws(RuntimeError) -> UInt32 {
        // Nothing will tell the next start which epochs were used, so the clock does.
        if isInMemory { return UInt32(clamping: environment.seconds) }
        let mark = try environment.identityFolder.map { folder throws(RuntimeError) in
            try EpochMark.load(directory: folder)
        }
        let known = origins.keys.filter { $0.node == node }.map(\.epoch).max() ?? 0
        let written = max(known, state.node == node ? state.epoch : 0)
        let last = max(written, (mark ?? nil)?.epoch ?? 0)
        var agrees = true
        if let mark {
            agrees = mark == self.mark(mark?.epoch ?? 0, runs: state.runs) && mark?.epoch ?? .max <= written
            agrees = agrees && mark == EpochMark.volatile(folder: environment.volatileFolder, store: ring.store)
        }
        if state.node == node, state.isClean, agrees, written > 0 { return written }
        guard last < UInt32.max else { throw RuntimeError(.corrupt, "this host has used up its epochs") }
        // Nobody has copied what was never written.
        if last == 0 { return 1 }
        return max(last + 1, UInt32(clamping: min(environment.seconds, Self.latestClock)))
    }

    /// A clock set wrong must not use up the epochs.
    private static let latestClock = UInt64(UInt32.max - 1 << 24)

    private func recovered(as origin: Origin) -> RecoveredLog {
        let heads = origins.values.filter { $0.sequence > 0 }.map(\.head).sorted { $0.origin < $1.origin }
        var clock = HybridClock(latest: HybridTimestamp(rawValue: 0))
        for row in origins.values {
            // A peer's clock may be days ahead: what we would not have followed then is not followed now either.
            let wall = row.origin.node == node ? row.latest.milliseconds : environment.seconds &* 1_000
            clock.observe(row.latest, milliseconds: wall)
        }
        return RecoveredLog(
            origin: origin, heads: heads, seals: origins.values.compactMap(\.seal).sorted { $0.origin < $1.origin },
            latestTimestamp: clock.latest)
    }
}
