/// How often each of many callers may do something: a bucket that holds a minute's worth and fills evenly, kept as the
/// one time at which it will be full again (the generic cell rate algorithm, ITU-T I.371). A pure machine: whoever asks
/// says when.
///
/// Bound: `limit` callers. Those whose buckets are full are forgotten first, which changes nothing for them; where none
/// is, the quarter that comes closest to it: each of them gets what it would have had a little later.
package struct RateLimiter<Caller: Hashable & Sendable>: Sendable {
    private let limit: Int
    private var fullAt: [Caller: Duration] = [:]

    package init(limit: Int) { self.limit = max(4, limit) }

    package var count: Int { fullAt.count }

    /// Nil: it may, and has. Else when it may at the earliest, from now on.
    ///
    /// - Parameters:
    ///   - rate: how often a minute; at least 1.
    ///   - now: never runs backwards.
    package mutating func wait(_ caller: Caller, rate: Int, at now: Duration) -> Duration? {
        let interval = Duration.seconds(60) / max(1, rate)
        // A bucket of `rate` drops: as many at once, from an empty start.
        let patience = Duration.seconds(60) - interval
        let full = max(fullAt[caller] ?? now, now)
        guard full - now <= patience else { return full - now - patience }
        if fullAt[caller] == nil, fullAt.count >= limit { makeRoom(at: now) }
        fullAt[caller] = full + interval
        return nil
    }

    package mutating func forget(_ caller: Caller) { fullAt[caller] = nil }

    private mutating func makeRoom(at now: Duration) {
        fullAt = fullAt.filter { $0.value > now }
        guard fullAt.count > limit / 4 * 3 else { return }
        let drop = fullAt.sorted { $0.value < $1.value }.prefix(fullAt.count - limit / 4 * 3)
        for caller in drop.map(\.key) { fullAt[caller] = nil }
    }
}
