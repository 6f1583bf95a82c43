/// Keeps requests from a host and model that fail, and lets them come back slowly (Nygard, *Release It!*, 2007, the
/// circuit breaker; slow start as in HAProxy): closed, after some failures open for a while, then half open for one
/// request that decides.
package struct CircuitBreaker: Hashable, Sendable {
    package enum State: Hashable, Sendable {
        case closed
        case open(until: Duration)
        /// One request is on its way.
        case halfOpen
    }

    private static let failures = 3
    private static let pause = (first: Duration.seconds(1), last: Duration.seconds(60))
    private static let slowStart = Duration.seconds(10)
    /// A trial of which nobody has told the end is over.
    private static let trial = Duration.seconds(60)

    package private(set) var state = State.closed
    private var failuresInARow = 0
    private var pause = Self.pause.first
    private var closedAt: Duration?
    private var triedAt = Duration.zero

    package init() {}

    /// Whether a request may go there now.
    package func admits(at now: Duration) -> Bool {
        switch state {
        case .closed: true
        case .open(let until): now >= until
        case .halfOpen: now >= triedAt + Self.trial
        }
    }

    /// A request goes there.
    package mutating func began(at now: Duration) {
        guard state != .closed else { return }
        state = .halfOpen
        triedAt = now
    }

    package mutating func succeeded(at now: Duration) {
        failuresInARow = 0
        guard state != .closed else { return }
        state = .closed
        pause = Self.pause.first
        closedAt = now
    }

    /// The request says nothing of the host: its client left, or it was wrong.
    package mutating func ended(at now: Duration) {
        if state == .halfOpen { state = .open(until: now) }
    }

    package mutating func failed(at now: Duration) {
        failuresInARow += 1
        guard state != .closed || failuresInARow >= Self.failures else { return }
        if state != .closed { pause = min(pause * 2, Self.pause.last) }
        state = .open(until: now + pause)
    }

    /// From 1 to 2: how much dearer the host counts while it comes back.
    package func slowStart(at now: Duration) -> Double {
        guard let closedAt, now >= closedAt, now < closedAt + Self.slowStart else { return 1 }
        return 2 - (now - closedAt) / Self.slowStart
    }
}
