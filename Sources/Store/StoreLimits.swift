import Core

/// The bounds of this room.
extension Limits {
    /// Commits and reads that may wait for the disk.
    static let storeQueue = 4_096
    /// Commits that share one fsync.
    static let storeGroup = 512
    /// After a group of commits the next one waits so long for as many: those who were answered together ask again
    /// together, and would else be split into one that is early and all the others. A lone commit never waits.
    static let storeGathering = Duration.microseconds(300)
    static let storeReaders = 2
    /// Seals are kept at such distances: a part of a stream that travels is at most so long.
    static let checkpointOperations = 64
    static let checkpointBytes = 512 * 1024
    /// Rows kept in memory to save look-ups; past it they are forgotten and read again.
    static let storeCachedRows = 4_096
    /// A relaxed commit is on disk after so long, and the disk's own time, at the latest.
    static let storeLag = Duration.milliseconds(500)
    /// Pages in the write-ahead log after which a commit moves them into the database.
    static let storeLogPages = 2_000
    /// So long after the last commit the write-ahead log is moved into the database and emptied.
    static let storeIdle = Duration.milliseconds(500)
    /// Snapshots kept for peers; the one that was used the longest ago goes first.
    static let snapshots = 4
    /// One that nobody has asked for goes after so long.
    static let snapshotLife = Duration.seconds(600)
    /// A younger one is given out again; what it lacks is fetched as operations.
    static let snapshotYouth = Duration.seconds(30)
    static let snapshotReadBytes = 4 * 1024 * 1024
    /// An idle writer looks around so often.
    static let storeRound = Duration.seconds(60)
    /// A key seals so many records, or for so long; then new records get a fresh one (swarm.md §12).
    static let recordsPerKey: UInt64 = 1 << 30
    static let secondsPerKey: UInt64 = 90 * 86_400
    /// After a deletion a key goes within so long, with fewer operations sooner.
    static let secondsPerErasingKey: UInt64 = 86_400
    static let rewrittenOperationsPerMinute: UInt64 = 2_000
    /// Transactions at a time that read for long.
    static let storeLongReads = 4
    /// Rows are sealed anew in steps of so many, a pause between two; under load one now and then.
    static let storeRewrittenRows = 256
    static let storeRewrittenBytes = 256 * 1024
    static let storeRewritingBreath = Duration.milliseconds(2)
    static let storeRewritingPace = Duration.milliseconds(100)
    /// After a step that failed, and after rows that did not open.
    static let storeRewritingPause = Duration.seconds(5)
    static let storeRewritingRetry = Duration.seconds(3_600)
    /// A row's number holds its origin's index above these bits and its sequence in them.
    static let sequenceBits: Int64 = 40
    static let storeOrigins: Int64 = 1 << 22
}
