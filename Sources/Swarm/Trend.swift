/// Where a figure is heading: a line of least squares through its last samples.
package struct Trend: Hashable, Sendable {
    private struct Sample: Hashable {
        var at: Double
        var value: Double
    }

    private static let most = 60
    /// Fewer say nothing of a direction.
    private static let fewest = 6

    private var samples: [Sample] = []

    package init() {}

    package var last: Double? { samples.last?.value }

    package mutating func add(_ value: Double, at now: Duration) {
        guard value.isFinite else { return }
        samples.append(Sample(at: now / .seconds(1), value: value))
        if samples.count > Self.most { samples.removeFirst() }
    }

    /// The change in a second; nil where too little is known.
    package var slope: Double? {
        guard samples.count >= Self.fewest else { return nil }
        let count = Double(samples.count)
        let middle = samples.reduce(0) { $0 + $1.at } / count
        let mean = samples.reduce(0) { $0 + $1.value } / count
        let spread = samples.reduce(0) { $0 + ($1.at - middle) * ($1.at - middle) }
        guard spread > 0 else { return nil }
        return samples.reduce(0) { $0 + ($1.at - middle) * ($1.value - mean) } / spread
    }

    /// How long until it has fallen to nothing, if it goes on like this; nil where it does not fall.
    package var timeToZero: Duration? {
        guard let last, let slope, slope < 0 else { return nil }
        let seconds = last / -slope
        // Beyond a thousand years nobody wants to know.
        return seconds < 3e10 ? .seconds(seconds) : nil
    }

    /// The mean of the last `count` samples against that of all before; nil where either is missing.
    package func recent(_ count: Int) -> (now: Double, before: Double)? {
        let before = samples.dropLast(count)
        guard before.count >= Self.fewest else { return nil }
        let now = samples.suffix(count)
        return (
            now.reduce(0) { $0 + $1.value } / Double(now.count),
            before.reduce(0) { $0 + $1.value } / Double(before.count)
        )
    }
}
