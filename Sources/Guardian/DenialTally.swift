internal import Core

/// Keeps a storm of refusals from filling the log: the first of its kind is told at once, the others of the same minute
/// in one entry. A pure machine.
///
/// Bound: ``Limits/auditKinds`` kinds in a minute; the rest count as one kind of their own, without a caller.
package struct DenialTally: Sendable {
    private static let interval = Duration.seconds(60)

    private struct Count: Sendable {
        var since: Duration
        var more: UInt64 = 0
    }
    private var counts: [AuditEvent: Count] = [:]

    package init() {}

    /// What is to be written of it now.
    package mutating func noted(_ event: AuditEvent, at now: Duration) -> AuditEvent? {
        var event = event
        // What nobody may ask is of interest by who asks it, not by which of many paths.
        event.target = ""
        if counts[event] == nil, counts.count >= Limits.auditKinds {
            event = AuditEvent(event.kind, action: "any", status: event.status, code: "many")
        }
        guard counts[event] == nil else {
            counts[event]?.more += 1
            return nil
        }
        counts[event] = Count(since: now)
        return event
    }

    /// What has come together in minutes that are over.
    package mutating func due(at now: Duration) -> [(event: AuditEvent, count: UInt64)] {
        let over = counts.filter { now - $0.value.since >= Self.interval }
        for event in over.keys { counts[event] = nil }
        return over.filter { $0.value.more > 0 }.map { ($0.key, $0.value.more) }.sorted { $0.0.action < $1.0.action }
    }

    /// All that is left, at the end.
    package mutating func rest() -> [(event: AuditEvent, count: UInt64)] {
        defer { counts = [:] }
        return counts.filter { $0.value.more > 0 }.map { ($0.key, $0.value.more) }.sorted { $0.0.action < $1.0.action }
    }
}
