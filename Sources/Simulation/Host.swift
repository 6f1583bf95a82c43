import Core
import Cryptography
import Swarm

/// One machine of the world: its clock, its disk, and the process on it while one runs.
struct Host {
    enum Power: Equatable {
        /// No electricity: connections to it are never answered.
        case off
        /// The machine is on, no process: connections are refused.
        case idle
        case running
        /// SIGSTOP: the system accepts for it, and nothing answers.
        case frozen
    }

    let index: Int
    let node: NodeID
    let publicKey: [UInt8]
    /// The key that it was given.
    let root: SwarmKeys
    /// What it has kept of rotations.
    var ring: [UInt8]?
    let address: NetworkAddress
    /// Not one whose data the others should have.
    let isForeign: Bool
    /// Started from a copy of another's disk, identity included.
    let isClone: Bool

    /// By an operator, whether it knows or not.
    var isEvicted = false
    /// It was linked with another once, and both noted it.
    var hasJoined = false

    var power = Power.idle
    var disk: Disk
    var clock: WallClock
    /// Counts starts: what was meant for an earlier process is dropped.
    var run = 0
    var process: HostProcess?
    /// What happened to a frozen process: it learns of it in this order when it goes on.
    var deferred: [World.Event] = []

    var diskDelay: Duration = .milliseconds(4)
    var isDiskFull = false
    var isStarved = false
    /// It is at work on what waits in ``deferred``.
    var isWorking = false

    var end: Network.End { Network.End(host: index, run: run) }
    /// Its data must be as the others' in the end.
    var isMember: Bool { !isForeign && !isClone && !isEvicted }
    /// What it holds is one of a turn's copies.
    var isUp: Bool { power == .running || power == .frozen }
}

/// A wall clock that is set wrong, runs wrong and jumps.
struct WallClock {
    /// Of the world's beginning: milliseconds since 1970.
    static let beginning: UInt64 = 1_760_000_000_000

    var offset: Int64 = 0
    /// Millionths.
    var drift: Int64 = 0

    func milliseconds(at now: Duration) -> UInt64 {
        let elapsed = Int64(now / .milliseconds(1))
        return UInt64(clamping: Int64(Self.beginning) + elapsed + elapsed * drift / 1_000_000 + offset)
    }
}
