import Core
import Cryptography

/// What a host's disk holds, commit by commit, with the store's rules (``ContextStore``). The end of it may be in the
/// system's memory only: a power cut takes that, and a killed process does not.
struct Disk {
    /// A state of the store's tables.
    struct Image {
        private(set) var operations: [Origin: [Operation]] = [:]
        /// How many operations of each origin.
        private(set) var vector = VersionVector()
        private(set) var heads: [Origin: LogHead] = [:]
        /// All of them, ascending.
        private(set) var seals: [Origin: [BatchSeal]] = [:]
        private(set) var conversations: [StreamID: ConversationHeader] = [:]
        private(set) var streams: [StreamID: [Dot]] = [:]
        /// The last writer's epoch, whether it said goodbye, and how many there were (swarm.md §1).
        private(set) var epoch: UInt32 = 0
        private(set) var isClean = true
        private(set) var runs = 0

        fileprivate mutating func begin(_ epoch: UInt32) {
            self.epoch = epoch
            isClean = false
            runs += 1
        }

        /// All of the commit. False, and nothing done, for what the real store refuses: it would leave a gap.
        mutating func apply(_ commit: Commit) -> Bool {
            var ends: [Origin: UInt64] = [:]
            for operation in commit.operations {
                let origin = operation.dot.origin
                let end = ends[origin] ?? vector[origin]
                guard operation.dot.sequence == end + 1 else { return false }
                ends[origin] = end + 1
            }
            for operation in commit.operations {
                operations[operation.dot.origin, default: []].append(operation)
                streams[operation.stream, default: []].append(operation.dot)
            }
            for (origin, end) in ends { vector[origin] = end }
            for head in commit.heads { heads[head.origin] = head }
            for seal in commit.seals where seal.sequence > seals[seal.origin]?.last?.sequence ?? 0 {
                seals[seal.origin, default: []].append(seal)
            }
            for dot in commit.erasures { erase(dot) }
            for stream in commit.removals { conversations[stream] = nil }
            for header in commit.conversations { conversations[header.stream] = header }
            return true
        }

        private mutating func erase(_ dot: Dot) {
            guard var operation = self[dot], !operation.flags.contains(.erased), !operation.body.isEmpty else { return }
            operation.body = SHA256.hash(OperationCodec.encode(operation))
            operation.flags.insert(.erased)
            operations[dot.origin]?[Int(dot.sequence) - 1] = operation
        }

        subscript(dot: Dot) -> Operation? {
            guard let stream = operations[dot.origin], dot.sequence > 0, dot.sequence <= UInt64(stream.count) else {
                return nil
            }
            return stream[Int(dot.sequence) - 1]
        }

        /// Streams with a delete among their operations.
        var deleted: [StreamID] {
            streams.filter { $0.value.contains { self[$0]?.kind == .delete } }.keys.sorted()
        }

        func operations(of stream: StreamID) -> [Operation] { (streams[stream] ?? []).sorted().compactMap { self[$0] } }

        func operations(of origin: Origin, after sequence: UInt64, limit: Int) -> [Operation] {
            Array((operations[origin] ?? []).dropFirst(Int(clamping: sequence)).prefix(limit))
        }

        /// As ``ContextStore/batch(of:after:)`` says.
        func batch(of origin: Origin, after sequence: UInt64) -> OperationBatch? {
            let above = (seals[origin] ?? []).drop { $0.sequence <= sequence }
            let farthest = sequence + UInt64(Limits.batchOperations)
            guard let seal = above.last(where: { $0.sequence <= farthest }) ?? above.first else { return nil }
            let operations = operations(of: origin, after: sequence, limit: Int(seal.sequence - sequence))
            return operations.isEmpty ? nil : OperationBatch(operations: operations, seal: seal)
        }

    }

    /// What a process sees.
    private(set) var image = Image()
    /// What a power cut leaves at the least: this and, on top, what was synced since.
    private var base = Image()
    private var synced: [Commit] = []
    private var unsynced: [Commit] = []
    private(set) var copy: (image: Image, mark: Mark?)?
    /// A file of its own beside the store: a store set back alone disagrees with it.
    private(set) var mark: Mark?

    struct Mark {
        var epoch: UInt32
        var runs: Int
    }

    init() {}
    /// A copy of another machine's disk.
    init(copying other: Disk) {
        image = other.image
        base = other.image
        mark = other.mark
    }

    /// As the store decides a start's origin (`StoreWriter.nextEpoch`): a new epoch unless the last writer said
    /// goodbye and the mark beside the store agrees.
    mutating func recover(_ node: NodeID, milliseconds: UInt64) -> RecoveredLog {
        let known = image.operations.keys.filter { $0.node == node }.map(\.epoch).max() ?? 0
        let written = max(known, image.epoch)
        let last = max(written, mark?.epoch ?? 0)
        let agrees = mark?.runs == image.runs
        // A new one takes its number from the clock where that is ahead; nobody has copied what was never written.
        let fresh = last == 0 ? 1 : max(last + 1, UInt32(clamping: milliseconds / 1_000))
        begin(image.isClean && agrees && written > 0 ? written : fresh)
        var clock = HybridClock()
        for origin in image.operations.keys.sorted() {
            guard let latest = image.operations[origin]?.last?.timestamp else { continue }
            clock.observe(latest, milliseconds: origin.node == node ? latest.milliseconds : milliseconds)
        }
        return RecoveredLog(
            origin: Origin(node: node, epoch: image.epoch), heads: image.heads.values.sorted { $0.origin < $1.origin },
            seals: image.seals.values.compactMap(\.last).sorted { $0.origin < $1.origin },
            latestTimestamp: clock.latest)
    }

    /// False when it would leave a gap: nothing is written then.
    mutating func write(_ commit: Commit) -> Bool {
        guard image.apply(commit) else { return false }
        unsynced.append(commit)
        if commit.durability == .synced { sync() }
        return true
    }

    mutating func sync() {
        synced += unsynced
        unsynced = []
    }

    /// What was refused of `node`'s own may be with peers, and so may the beginning of the epoch after it: the mark is
    /// small and may find room (`StoreWriter.noteRefusal`).
    mutating func noteRefusal(of commit: Commit, node: NodeID) {
        let epochs = commit.operations.lazy.map(\.dot.origin).filter { $0.node == node }.map(\.epoch)
        if let epoch = epochs.max() { mark?.epoch = epoch + 1 }
    }

    /// Notes a writer at work; on disk before anything is written.
    private mutating func begin(_ epoch: UInt32) {
        unsynced = []
        synced = []
        image.begin(epoch)
        base = image
        mark = Mark(epoch: epoch, runs: image.runs)
    }

    /// The end that was not synced goes, but for as much of it as happened to reach the disk; a record that was only
    /// half written counts as not there. Returns what is gone.
    mutating func cutPower(_ chance: inout Chance) -> [Dot] {
        let kept = chance.below(unsynced.count + 1)
        for commit in synced + unsynced.prefix(kept) { _ = base.apply(commit) }
        let lost = unsynced.dropFirst(kept).flatMap { $0.operations.map(\.dot) }
        synced = []
        unsynced = []
        image = base
        return lost
    }

    /// A copy as `cp` makes it of a running host's disk.
    mutating func makeCopy() { copy = (image, mark) }

    /// Returns what the disk no longer holds.
    ///
    /// - Parameter isWhole: all of the disk is set back, not the store alone.
    mutating func rollBack(isWhole: Bool) -> [Dot] {
        guard let copy else { return [] }
        let before = image
        image = copy.image
        base = copy.image
        synced = []
        unsynced = []
        if isWhole { mark = copy.mark }
        return before.operations.values.joined().map(\.dot).filter { copy.image[$0] == nil }.sorted()
    }
}
