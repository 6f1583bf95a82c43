import Core

/// Whether a program that is run for each request deserves another try: after three failures within a minute, or when
/// it could not be prepared, it is left alone for a while that doubles from ``Limits/engineQuarantine``; one request
/// may try again then. A pure value.
struct ProgramHealth: Sendable {
    typealias Instant = ContinuousClock.Instant

    struct Quarantine: Sendable {
        var error: RuntimeError
        var until: Instant
    }

    private let length: (first: Duration, last: Duration)
    private var failures: [Instant] = []
    private var quarantines = 0
    private(set) var quarantine: Quarantine?

    init(length: (first: Duration, last: Duration)) { self.length = length }

    /// Why a request is turned away at present, if it is.
    func refusal(at now: Instant) -> RuntimeError? {
        guard let quarantine, now < quarantine.until else { return nil }
        var error = quarantine.error
        error.retryAfter = max(.seconds(1), quarantine.until - now)
        return error
    }

    mutating func succeeded() {
        failures = []
        quarantines = 0
        quarantine = nil
    }

    /// A run failed for the program's own reasons. True when that puts it into quarantine.
    mutating func failed(_ error: RuntimeError, at now: Instant) -> Bool {
        failures = failures.filter { now - $0 < .seconds(60) } + [now]
        let isTrial = quarantine != nil
        guard isTrial || failures.count >= Limits.engineCrashesPerMinute else { return false }
        isolate(error, at: now)
        return true
    }

    mutating func isolate(_ error: RuntimeError, at now: Instant) {
        let wait = min(length.last, length.first * (1 << min(quarantines, 20)))
        quarantines += 1
        failures = []
        quarantine = Quarantine(error: error, until: now + wait)
    }
}
