package import Core

/// How fast a model reads prompts and writes answers on this host, by the answers it has given: the latest count most.
package struct RateMeter: Hashable, Sendable {
    /// Tokens a second of a prompt; nil until measured.
    package private(set) var read: Double?
    /// Tokens a second of one answer; nil until measured.
    package private(set) var write: Double?

    private static let weight = 0.2
    /// Less says more of the clock than of the model.
    private static let leastTokens = 8
    private static let leastTime = Duration.microseconds(100)

    package init() {}

    /// An answer for which nothing had to wait: the time until its first piece, and from that to its end.
    package mutating func answered(_ usage: TokenUsage, reading: Duration, writing: Duration) {
        let (unread, overflow) = usage.promptTokens.subtractingReportingOverflow(usage.cachedTokens)
        if !overflow { Self.note(unread, in: reading, &read) }
        Self.note(max(1, usage.completionTokens) - 1, in: writing, &write)
    }

    private static func note(_ tokens: Int, in time: Duration, _ rate: inout Double?) {
        guard tokens >= leastTokens, time >= leastTime else { return }
        let fresh = Double(tokens) / (time / .seconds(1))
        rate = rate.map { $0 + (fresh - $0) * weight } ?? fresh
    }
}
