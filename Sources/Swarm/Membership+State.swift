internal import Core
internal import Glibc

extension Membership {
    /// The figures of swarm.md §6.
    package struct Tuning: Hashable, Sendable {
        /// Up to so many members everyone is linked with everyone.
        package var meshHosts = Limits.meshHosts
        /// Between two words of this host about its links.
        package var neighboursInterval = Duration.seconds(2)
        /// How long no path of links may lead to a member.
        package var isolation = Duration.seconds(6)
        package var pingTimeout = Duration.milliseconds(150)
        package var relays = 3
        /// A linked member that was not heard from for so long is probed. Above the longest keepalive interval, 1.2 s.
        package var silence = Duration.milliseconds(1250)
        package var gossipInterval = Duration.milliseconds(100)
        package var syncInterval = Duration.seconds(30)
        package var resurrectionInterval = Duration.seconds(10)
        package var leastSuspicion = Duration.seconds(2)
        /// How late a tick may be.
        package var tolerance = Duration.milliseconds(100)
        package var worstHealth = 8
        package var period = Duration.milliseconds(500)
        package var longPeriod = Duration.seconds(1)
        /// False: plain SWIM, to compare with: no local health, no confirmations, no fast path.
        package var isLifeguard = true

        package init() {}
    }

    /// What is known of one member.
    struct Record: Sendable {
        /// The newest of its own words.
        var claim: SignedClaim
        var state: Member.State
        var since: Duration
        /// The last sign of life: heard, or vouched for by a relay.
        var sign: Duration
        var suspicion: Suspicion?
        /// Who said that it is dead.
        var accuser: NodeID?
        /// Nobody listens where it did.
        var isRefused = false
        /// Members, perhaps this host, whose probe failed since the last sign of life.
        var witnesses: Set<NodeID> = []
        /// No path of links led to it, since then.
        var unreached: Duration?
        /// When it was last told what is said of it.
        var told: Duration?
        /// The instance before this one: one that comes back is a clone.
        var formerInstance: InstanceID?

        var isThere: Bool { state == .alive || state == .suspect }

        /// A sign of life of its own. Returns whether it is held for anything but alive.
        mutating func heard(_ time: Duration) -> Bool {
            sign = time
            if isRefused || !witnesses.isEmpty { clearEvidence() }
            return state != .alive
        }

        mutating func clearEvidence() {
            isRefused = false
            witnesses = []
        }
    }

    struct Suspicion: Sendable {
        var began: Duration
        var accusers: Set<NodeID>
        /// Local health when it began.
        var multiplier: Int
    }

    struct Probe: Sendable {
        var token: UInt64
        /// When it fails, or goes on through relays.
        var deadline: Duration
        var end: Duration
        /// Empty while it is a direct one.
        var relays: Set<NodeID> = []
        var refusals: Set<NodeID> = []
    }

    /// A probe on another's behalf.
    struct Errand: Sendable {
        var token: UInt64
        var target: NodeID
        var requester: NodeID
        var requesterToken: UInt64
        var deadline: Duration
    }

    struct Rivalry: Sendable {
        var first: Duration
        var last: Duration
        var count: Int
    }

    /// Whether everyone is to be linked with everyone.
    var isMesh: Bool { size <= tuning.meshHosts }

    /// 500 ms in a mesh, then a second.
    var period: Duration { isMesh ? tuning.period : tuning.longPeriod }

    var silence: Duration { tuning.silence * multiplier }

    /// Suspicion lasts six times the least, and with each independent accuser less (Lifeguard §IV-B).
    func deadline(of suspicion: Suspicion) -> Duration {
        let least = max(tuning.leastSuspicion, period * (4 * log10(Double(size)))) * suspicion.multiplier
        guard tuning.isLifeguard else { return suspicion.began + least }
        let needed = max(0, min(3, size - 2))
        let confirmations = min(suspicion.accusers.count - 1, needed)
        guard confirmations < needed else { return suspicion.began + least }
        let share = log(Double(confirmations + 1)) / log(Double(needed + 1))
        return suspicion.began + least * (6 - 5 * share)
    }
}

extension SignedClaim {
    /// Two to the 53: no clock comes there, and nobody can climb so high that refuting overflows.
    static let lastIncarnation: UInt64 = 1 << 53
}
