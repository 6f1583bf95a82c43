import Glibc
import Synchronization

/// How long the gateway has run, and whether it is about to end.
final class GatewayLifecycle: Sendable {
    /// Seconds since 1970.
    let startedAt = Int64(time(nil))
    private let start = ContinuousClock.now
    private let draining = Mutex(false)

    var uptime: Duration { start.duration(to: .now) }
    var isDraining: Bool { draining.withLock { $0 } }

    func beginDraining() { draining.withLock { $0 = true } }
}
