import Glibc
import Synchronization

/// How long the gateway has run, what it is doing, and whether it is about to end.
final class GatewayLifecycle: Sendable {
    /// Seconds since 1970.
    let startedAt = Int64(time(nil))
    /// Opens when the gateway is about to end. What would run for ever ends then.
    let draining = Latch()
    private let start = ContinuousClock.now
    private let requests = Mutex(0)
    private let steps = Atomic<UInt64>(0)

    var uptime: Duration { start.duration(to: .now) }
    /// Requests whose head has come and whose reply has not ended.
    var openRequests: Int { requests.withLock { $0 } }

    /// How many steps open requests have made so far: pieces of answers, of any kind.
    var progress: UInt64 { steps.load(ordering: .relaxed) }
    func progressed() { steps.wrappingAdd(1, ordering: .relaxed) }

    /// Returns how many requests are open now.
    func requestBegan() -> Int { change(by: 1) }
    func requestEnded() -> Int { change(by: -1) }

    private func change(by step: Int) -> Int {
        requests.withLock { requests in
            requests += step
            return requests
        }
    }
}
