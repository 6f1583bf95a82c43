import Core

/// What came of one run of a ``ServingWorld``.
package struct ServingReport: Sendable {
    package var seed: UInt64
    package var hosts: Int
    package var asks = 0
    package var events = 0
    package var ends: [ServingWorld.End: Int] = [:]
    /// Requests that waited at one host and then at another, and of these the ones that a host with nothing to do took.
    package var moves = 0
    package var steals = 0
    /// Answers that went on at another engine.
    package var failovers = 0
    /// Answers whose host was gone.
    package var takenUp = 0
    /// The first of each invariant that did not hold.
    package private(set) var violations: [Violation] = []

    init(seed: UInt64, hosts: Int) {
        self.seed = seed
        self.hosts = hosts
    }

    mutating func violated(_ invariant: String, _ detail: String, at now: Duration) {
        guard !violations.contains(where: { $0.invariant == invariant }) else { return }
        violations.append(Violation(invariant: invariant, at: now, detail: detail))
    }
}
