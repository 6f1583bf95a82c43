import Glibc
import Swarm
import Synchronization

/// The time by which this host stamps, and lets things expire: the shell of ``SteadyClock``. In milliseconds since 1970.
final class HostClock: Sendable {
    private let state: Mutex<SteadyClock>

    init() { state = Mutex(SteadyClock(wall: Int64(clamping: Self.machine()), at: Self.monotonic())) }

    var now: UInt64 {
        let (wall, now) = (Int64(clamping: Self.machine()), Self.monotonic())
        return UInt64(clamping: state.withLock { $0.time(wall: wall, at: now) })
    }

    /// Nil while it is not known which time is right.
    var settled: UInt64? {
        let now = now
        return state.withLock { $0.isDoubtful(at: Self.monotonic()) } ? nil : now
    }

    func heard(_ times: [Int64]) { state.withLock { $0.heard(times, at: Self.monotonic()) } }

    /// What the machine's own clock says.
    @Sendable static func machine() -> UInt64 { UInt64(clamping: milliseconds(CLOCK_REALTIME)) }

    /// Also while the machine sleeps: that it slept is no jump.
    private static func monotonic() -> Int64 { milliseconds(CLOCK_BOOTTIME) }

    private static func milliseconds(_ clock: clockid_t) -> Int64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return Int64(clamping: time.tv_sec) &* 1_000 &+ Int64(clamping: time.tv_nsec / 1_000_000)
    }
}
