import Core

/// The bounds of one engine; the defaults are those of ``Limits``, tests set shorter ones.
package struct EngineBounds: Sendable {
    /// From the start of a child to its readiness, and from a question to a program to its answer.
    package var readiness = Limits.engineReadiness
    /// From the first packet to an upstream to the open connection.
    package var connect = Limits.engineConnect
    /// How long a running answer may stay silent.
    package var stall = Limits.engineStall
    /// How often a child is looked at while it owes an answer (``Pulse``).
    package var beat = Limits.enginePulse.beat
    /// How long one answer may take.
    package var answer = Limits.engineAnswer
    /// What a child gets to end by itself after it was asked to.
    package var grace = Limits.engineGrace
    /// Text that waits for its reader, and how long it may.
    package var unreadBytes = Limits.streamBufferBytes
    package var unreadStall = Limits.streamStall
    /// Text of one answer.
    package var outputBytes = Limits.engineOutputBytes
    package var lineBytes = Limits.engineLineBytes
    package var waitingRequests = Limits.queuedRequestsPerModel
    package var restartDelay = Limits.engineRestartDelay
    package var quarantine = Limits.engineQuarantine
    /// Between two attempts to have what a child needs.
    package var workerRetry = Limits.workerRetry

    package init() {}

    /// How often running answers are looked at: four times within the shortest of their bounds, at most every 250 ms.
    var tick: Duration {
        let shortest = Swift.min(stall, answer, grace, unreadStall)
        return Swift.max(.milliseconds(5), Swift.min(.milliseconds(250), shortest / 4))
    }
}
