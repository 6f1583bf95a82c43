import Core

/// When beacons are due: a few at once, for the quick start, then one every 10 s ± 20 %, so that hosts which started
/// together drift apart.
struct BeaconSchedule: Sendable {
    static let burst: [Duration] = [
        .zero, .milliseconds(300), .seconds(1), .seconds(2), .seconds(4),
    ]
    static let interval = Duration.seconds(10)
    static let jitter = 0.2

    /// When the next one is due.
    private(set) var next: Duration
    private var start: Duration
    private var sent = 0

    init(at now: Duration) {
        next = now
        start = now
    }

    /// A beacon was sent: the schedule goes on. Beacons that were due meanwhile are not made up for.
    mutating func advance(at now: Duration, using random: inout some RandomNumberGenerator) {
        sent = min(sent + 1, Self.burst.count)
        while sent < Self.burst.count, start + Self.burst[sent] <= now { sent += 1 }
        next =
            sent < Self.burst.count
            ? start + Self.burst[sent]
            : now + Self.interval * Double.random(in: 1 - Self.jitter...1 + Self.jitter, using: &random)
    }

    /// An interface came, or there is news: from the beginning.
    mutating func restart(at now: Duration) { self = BeaconSchedule(at: now) }
}
