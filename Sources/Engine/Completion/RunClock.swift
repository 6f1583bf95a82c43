import Core

/// The times of one run of a program: when it must be told to end, when it is killed. A pure value.
struct RunClock: Sendable {
    typealias Instant = ContinuousClock.Instant

    enum Verdict: Sendable {
        /// Told to end, and did not.
        case overdue
        case failed(RuntimeError)
    }

    private let bounds: EngineBounds
    private let startedAt: Instant
    private var lastHeard: Instant
    private var blockedSince: Instant?
    private var endingSince: Instant?

    init(bounds: EngineBounds, at now: Instant) {
        self.bounds = bounds
        startedAt = now
        lastHeard = now
    }

    mutating func heard(at now: Instant) { lastHeard = now }

    /// The reader has left too much; we wait for it and read nothing.
    mutating func blocked(at now: Instant) { blockedSince = now }

    mutating func unblocked(at now: Instant) {
        blockedSince = nil
        lastHeard = now
    }

    /// The answer is complete or unwanted: the program has been told to end.
    mutating func ending(at now: Instant) { endingSince = endingSince ?? now }

    /// Somebody waits for the program, which waits for nobody and has written nothing for a beat.
    func isAsked(at now: Instant) -> Bool {
        endingSince == nil && blockedSince == nil && now - lastHeard >= bounds.beat
    }

    func verdict(at now: Instant) -> Verdict? {
        if let endingSince { return now - endingSince > bounds.grace ? .overdue : nil }
        if now - startedAt > bounds.answer {
            return .failed(RuntimeError(.timedOut, "the answer took more than \(bounds.answer.wholeSeconds) s"))
        }
        if let blockedSince {
            guard now - blockedSince > bounds.unreadStall else { return nil }
            return .failed(RuntimeError(.timedOut, "the reader took nothing for \(bounds.unreadStall.wholeSeconds) s"))
        }
        guard now - lastHeard > bounds.stall else { return nil }
        // A failure of the engine's, other than the two above: another one may do better.
        return .failed(RuntimeError(.engineFailed, "the engine wrote nothing for \(bounds.stall.wholeSeconds) s"))
    }
}
