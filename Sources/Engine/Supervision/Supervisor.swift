import Core

/// The life of one persistent child: when it is started, when it is given up, when it is tried again.
///
/// After a crash the child is started again after a delay that doubles from ``Limits/engineRestartDelay``. The third
/// crash within a minute puts it into quarantine; when that is over one more start is tried (half-open), and a crash
/// within the first minute of it means a quarantine twice as long. A pure machine: times are arguments, a timer is
/// known by its token, a child by its generation.
struct Supervisor: Sendable {
    typealias Instant = ContinuousClock.Instant

    enum Phase: Hashable, Sendable {
        case idle
        case starting
        case ready
        /// Waiting for the delay after a crash.
        case delayed(reason: String)
        case quarantined(reason: String, until: Instant)
        /// What the child needs is not there; it is looked for again every ``EngineBounds/workerRetry``.
        case lacking(reason: String)
        case stopped
    }

    enum Action: Hashable, Sendable {
        case launch(generation: UInt64)
        case kill(generation: UInt64)
        case schedule(token: UInt64, after: Duration)
        /// Requests that wait have nothing to wait for.
        case refuseWaiting
    }

    let bounds: EngineBounds
    private(set) var phase = Phase.idle
    private(set) var generation: UInt64 = 0
    private var token: UInt64 = 0
    private var crashes: [Instant] = []
    private var consecutive = 0
    private var quarantines = 0
    private var isOnProbation = false
    private var launchedAt: Instant?
    /// Why we are ending the child, where we are: it says more than the exit status.
    private var verdict: String?

    private static let minute = Duration.seconds(60)

    init(bounds: EngineBounds) { self.bounds = bounds }

    mutating func started(at now: Instant) -> [Action] {
        guard phase == .idle else { return [] }
        return launch(at: now)
    }

    mutating func becameReady(generation: UInt64) {
        guard generation == self.generation, phase == .starting else { return }
        phase = .ready
        token += 1
    }

    /// The child shows that it is on its way to be ready: it has as long again.
    mutating func progressed(generation: UInt64) -> [Action] {
        guard generation == self.generation, phase == .starting else { return [] }
        return [schedule(after: bounds.readiness)]
    }

    /// The child must be ended: it broke the protocol or hangs.
    mutating func condemned(generation: UInt64, reason: String) -> [Action] {
        guard generation == self.generation, phase == .starting || phase == .ready else { return [] }
        verdict = verdict ?? reason
        return [.kill(generation: generation)]
    }

    /// The child has ended, or could not be started.
    mutating func ended(generation: UInt64, reason: String, at now: Instant) -> [Action] {
        guard generation == self.generation, phase == .starting || phase == .ready else { return [] }
        let reason = verdict ?? reason
        verdict = nil
        if let launchedAt, now - launchedAt > Self.minute {
            // It had run well: this is no part of a series.
            consecutive = 0
            quarantines = 0
            isOnProbation = false
        }
        crashes = crashes.filter { now - $0 < Self.minute } + [now]
        if isOnProbation || crashes.count >= Limits.engineCrashesPerMinute {
            return quarantine(reason: reason, at: now)
        }
        phase = .delayed(reason: reason)
        let delay = Self.doubled(bounds.restartDelay, times: consecutive)
        consecutive += 1
        return [schedule(after: delay)]
    }

    /// The child was not started, for what it needs is not there: no fault of its own, and nothing to wait for.
    mutating func lacked(generation: UInt64, reason: String) -> [Action] {
        guard generation == self.generation, phase == .starting else { return [] }
        verdict = nil
        phase = .lacking(reason: reason)
        return [schedule(after: bounds.workerRetry), .refuseWaiting]
    }

    mutating func expired(token: UInt64, at now: Instant) -> [Action] {
        guard token == self.token else { return [] }
        switch phase {
        case .starting:
            return condemned(
                generation: generation, reason: "it was not ready within \(bounds.readiness.wholeSeconds) s")
        case .delayed, .lacking:
            return launch(at: now)
        case .quarantined:
            isOnProbation = true
            return launch(at: now)
        case .idle, .ready, .stopped:
            return []
        }
    }

    mutating func stopped() {
        phase = .stopped
        token += 1
    }

    /// Why there is no child at present, or soon will be none.
    var reason: String? {
        switch phase {
        case .delayed(let reason), .quarantined(let reason, _), .lacking(let reason): reason
        case .starting, .ready: verdict
        case .idle, .stopped: nil
        }
    }

    private mutating func launch(at now: Instant) -> [Action] {
        generation += 1
        phase = .starting
        launchedAt = now
        verdict = nil
        return [.launch(generation: generation), schedule(after: bounds.readiness)]
    }

    private mutating func quarantine(reason: String, at now: Instant) -> [Action] {
        let length = Self.doubled(bounds.quarantine, times: quarantines)
        quarantines += 1
        consecutive = 0
        crashes = []
        phase = .quarantined(reason: reason, until: now + length)
        return [schedule(after: length), .refuseWaiting]
    }

    private mutating func schedule(after delay: Duration) -> Action {
        token += 1
        return .schedule(token: token, after: delay)
    }

    private static func doubled(_ range: (first: Duration, last: Duration), times: Int) -> Duration {
        min(range.last, range.first * (1 << min(times, 20)))
    }
}
