/// What a metric's name means, for the page's HELP line and its buckets.
package struct MetricDescription: Hashable, Sendable {
    package var name: String
    package var help: String
    /// Upper bounds of a histogram's buckets, ascending, without infinity; nil: the default of its kind.
    package var buckets: [Double]?

    package init(_ name: String, _ help: String, buckets: [Double]? = nil) {
        self.name = name
        self.help = help
        self.buckets = buckets
    }
}

/// Buckets by what they measure.
package enum Buckets {
    /// Seconds, for requests and whatever has no better.
    package static let seconds: [Double] = [
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
    ]
    /// Seconds, for what may last hours.
    package static let longSeconds: [Double] = [1, 2.5, 5, 10, 30, 60, 300, 900, 3_600, 14_400, 86_400]
    /// Seconds, fine below a quarter: time to the first token, sync, commits.
    package static let fineSeconds: [Double] = [
        0.0005, 0.001, 0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.25, 0.5,
        1, 2.5, 5, 10, 30, 60,
    ]
    /// Small numbers.
    package static let counts: [Double] = [1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32]
    /// Counts and sizes, as OpenTelemetry's for tokens.
    package static let sizes: [Double] = [
        1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216, 67_108_864,
    ]
}
