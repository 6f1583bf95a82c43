import Core

/// How many events of one kind there may be: `burst` at once, `rate` a second in the long run.
struct TokenBucket: Hashable, Sendable {
    let rate: Double
    let burst: Double
    private var tokens: Double
    private var filledAt: Duration

    init(rate: Double, burst: Double, at now: Duration) {
        self.rate = rate
        self.burst = burst
        tokens = burst
        filledAt = now
    }

    /// False when there are too many; time that runs backwards gives nothing.
    mutating func take(at now: Duration) -> Bool {
        if now > filledAt {
            tokens = min(burst, tokens + (now - filledAt) / .seconds(1) * rate)
            filledAt = now
        }
        guard tokens >= 1 else { return false }
        tokens -= 1
        return true
    }
}

/// Bounds the work that datagrams cause, by source and in total, before anything in them is looked at. The source is
/// asked first: one loud host must not use up what belongs to all.
struct DatagramLimiter: Sendable {
    static let perSource = (rate: 50.0, burst: 100.0)
    static let total = (rate: 500.0, burst: 1_000.0)
    /// Sources can be forged: beyond this many all are forgotten, and the total alone stands.
    static let mostSources = 1_024

    private var sources: [ScopedAddress: TokenBucket] = [:]
    private var all: TokenBucket

    init(at now: Duration) { all = TokenBucket(rate: Self.total.rate, burst: Self.total.burst, at: now) }

    mutating func admits(_ source: ScopedAddress, at now: Duration) -> Bool {
        var bucket = sources[source]
        if bucket == nil, sources.count >= Self.mostSources { sources.removeAll(keepingCapacity: true) }
        let isAdmitted =
            bucket?.take(at: now)
            ?? {
                var fresh = TokenBucket(rate: Self.perSource.rate, burst: Self.perSource.burst, at: now)
                defer { bucket = fresh }
                return fresh.take(at: now)
            }()
        sources[source] = bucket
        return isAdmitted && all.take(at: now)
    }
}
