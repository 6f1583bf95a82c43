import Core

/// Whether a child that owes an answer still lives: one that was stopped, or whose threads wait for each other for ever,
/// takes no processor time. Long before its silence is as long as a long prompt's may be, it is known by that. A pure
/// machine, told the same at each beat; beats are counted, not times, for a machine may sleep.
struct Pulse: Sendable {
    /// What a server takes that only looks at its sockets; a child at work takes many times that in one beat.
    private static let idleTicks = 2

    private var since: (ticks: Int, missed: Int)?

    /// - Parameters:
    ///   - isAsked: It owes an answer to somebody who waits for it, and has written nothing since the last beat.
    ///   - ticks: Its processor time so far (``ChildProcess/ticks``); nil where that tells nothing.
    /// - Returns: True when it has done nothing for as long as it may.
    mutating func beat(isAsked: Bool, ticks: @autoclosure () -> Int?) -> Bool {
        guard isAsked, let ticks = ticks() else {
            since = nil
            return false
        }
        guard let before = since, ticks - before.ticks <= Self.idleTicks else {
            since = (ticks, 0)
            return false
        }
        let missed = before.missed + 1
        let stands = missed >= Limits.enginePulse.missed
        since = stands ? nil : (before.ticks, missed)
        return stands
    }

    /// Why the child is given up.
    static let reason = "it stood still in the middle of an answer"
}
