/// How many hosts the work of the swarm asks for: the peak of what was answered and waited for at once, with a quarter
/// in reserve. A pure machine.
///
///     desired = ⌈1.25 × peak ÷ answers at once per host⌉, at least 1
package struct CapacityPlan: Sendable {
    /// The part of the peak that is kept free.
    package static let headroom = 0.25
    private static let buckets = 60

    package struct Report: Hashable, Sendable {
        /// Answers written and waited for at once, at most within the window.
        package var peak: Int
        package var now: Int
        /// Answers that all hosts together write at once.
        package var slots: Int
        package var hosts: Int
        package var perHost: Double
        package var desired: Int
    }

    package let window: Duration
    /// The peak of each part of the window, by the part's number.
    private var peaks: [Int64: Int] = [:]
    private var busy = 0
    private var slots = 0
    private var hosts = 0

    package init(window: Duration) { self.window = max(.seconds(1), window) }

    private func part(_ now: Duration) -> Int64 {
        let length = max(.milliseconds(1), window / Self.buckets)
        return Int64((now / length).rounded(.down))
    }

    /// - Parameters:
    ///   - busy: answers that are written or waited for on any host.
    ///   - slots: answers that all hosts together write at once.
    package mutating func observed(busy: Int, slots: Int, hosts: Int, at now: Duration) {
        self.busy = max(0, busy)
        self.slots = max(0, slots)
        self.hosts = max(0, hosts)
        let part = part(now)
        peaks[part] = max(peaks[part] ?? 0, self.busy)
        peaks = peaks.filter { $0.key > part - Int64(Self.buckets) }
    }

    package func report(at now: Duration) -> Report {
        let part = part(now)
        let peak = peaks.filter { $0.key > part - Int64(Self.buckets) }.values.max() ?? 0
        let perHost = hosts > 0 ? max(1, Double(slots) / Double(hosts)) : 1
        let desired = ((1 + Self.headroom) * Double(peak) / perHost).rounded(.up)
        return Report(
            peak: peak, now: busy, slots: slots, hosts: hosts, perHost: perHost,
            desired: max(1, Int(min(desired, 1_000_000))))
    }
}

/// When the number of desired hosts is told to whoever provides them: once it has held for a while. A pure machine.
package struct DesireWatch: Sendable {
    /// So long a number must hold.
    package static let hold = Duration.seconds(2)

    private var told: Int?
    private var candidate: (desired: Int, since: Duration)?

    package init() {}

    /// The number to be told now; nil where there is nothing new. The first that holds is what there is, and told only
    /// where it is another than the number of hosts.
    package mutating func observed(_ desired: Int, hosts: Int, at now: Duration) -> Int? {
        guard let candidate, candidate.desired == desired else {
            self.candidate = (desired, now)
            return nil
        }
        guard now - candidate.since >= Self.hold, desired != told else { return nil }
        let isFirst = told == nil
        told = desired
        return isFirst && desired == hosts ? nil : desired
    }
}
