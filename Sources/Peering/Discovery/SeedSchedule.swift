/// When a seed of the settings is looked at again: soon at first, later every half minute. A host that is found stays a
/// member by other means; this only brings back one that nobody knows any more.
struct SeedSchedule: Sendable {
    static let first = Duration.milliseconds(500)
    static let last = Duration.seconds(30)

    private var delay = first

    /// The wait before the next look, ± 20 %.
    mutating func next(using random: inout some RandomNumberGenerator) -> Duration {
        defer { delay = min(delay * 2, Self.last) }
        return delay * Double.random(in: 0.8...1.2, using: &random)
    }
}
