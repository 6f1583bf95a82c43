/// The museum: mistakes of programming that the simulator must find (docs/simulation.md). None of them is in the
/// shipped code: each corrupts, in the shell of the world, what a machine is told or what becomes of its effects.
package enum Bug: String, Sendable, CaseIterable {
    /// A pull is answered from one operation too far on.
    case offByOne = "off-by-one"
    /// Writes count as stored before the disk has them.
    case storedBeforeDisk = "stored-before-disk"
    /// A client is told that its turn is safe once it was pushed.
    case acknowledgedOnPush = "acknowledged-on-push"
    /// Own turns are written without a sync.
    case unsyncedTurns = "unsynced-turns"
    /// A refused write counts as stored.
    case refusalIgnored = "refusal-ignored"
    /// A start after a crash goes on in the old epoch.
    case keptEpoch = "kept-epoch"
    /// A deletion is written, and what it removes stays.
    case lostTombstone = "lost-tombstone"
    /// A turn counts twice in its conversation's row.
    case appliedTwice = "applied-twice"
    /// A conversation is put in order without looking at what its turns follow.
    case ignoredDependencies = "ignored-dependencies"
    /// The first vector of a fresh link gets lost.
    case lostVector = "lost-vector"
    /// One read in three for a peer is never answered.
    case lostReads = "lost-reads"
    /// Signatures are not looked at, and a relay forges.
    case trustedRelay = "trusted-relay"
    /// A host does not listen to what is said of it, and so never refutes.
    case deafToSuspicion = "deaf-to-suspicion"
    /// A link that is not wanted any more stays open.
    case staleLink = "stale-link"
    /// Machines get the wall clock as their time.
    case wallClockAsTime = "wall-clock-as-time"
    /// A message is handed over twice.
    case repeatedMessage = "repeated-message"
}
