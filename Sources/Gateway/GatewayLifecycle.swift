import Glibc
import Synchronization

/// How long the gateway has run, what it is doing, and whether it is about to end.
final class GatewayLifecycle: Sendable {
    private struct State {
        var isDraining = false
        var openRequests = 0
    }

    /// Seconds since 1970.
    let startedAt = Int64(time(nil))
    private let start = ContinuousClock.now
    private let state = Mutex(State())

    var uptime: Duration { start.duration(to: .now) }
    var isDraining: Bool { state.withLock { $0.isDraining } }
    /// Requests whose head has come and whose reply has not ended.
    var openRequests: Int { state.withLock { $0.openRequests } }

    func beginDraining() { state.withLock { $0.isDraining = true } }

    /// Returns how many requests are open now.
    func requestBegan() -> Int { change(by: 1) }
    func requestEnded() -> Int { change(by: -1) }

    private func change(by step: Int) -> Int {
        state.withLock { state in
            state.openRequests += step
            return state.openRequests
        }
    }
}
