import Core

/// What one run is made from: equal values give equal runs.
package struct RunOptions: Sendable {
    package var seed: UInt64
    /// Virtual time; the last quarter of it, at least 12 s, is for the recovery.
    package var length: Duration = .seconds(60)
    /// Nil draws 2 to 8, and 8 more where the mesh is to be small.
    package var hosts: Int?
    /// Nil draws them.
    package var faults: Faults?
    package var bug: Bug?
    /// Up to so many hosts each is linked with each; 4 where the mesh is to be small.
    package var meshLimit: Int?
    /// Without Lifeguard, to compare with (I19).
    package var isPlainSWIM = false
    /// How long a starved host stands still at a time, about.
    package var stall = Duration.milliseconds(150)

    package init(seed: UInt64) { self.seed = seed }

    /// The flags that make the same run again.
    package var flags: String {
        var flags = "--seeds 1 --start \(seed) --seconds \(length.components.seconds)"
        if let hosts { flags += " --hosts \(hosts)" }
        if let faults { flags += " --faults \(faults)" }
        if let meshLimit { flags += " --mesh-limit \(meshLimit)" }
        if let bug { flags += " --bug \(bug.rawValue)" }
        if isPlainSWIM { flags += " --plain-swim" }
        if stall != RunOptions(seed: 0).stall { flags += " --stall \(Int(stall / .milliseconds(1)))" }
        return flags
    }
}

/// What came of one run.
package struct RunReport: Sendable {
    package var seed: UInt64
    package var faults: Faults
    package var hosts: Int
    /// The first of each invariant that did not hold.
    package var violations: [Violation]
    package var traceHash: UInt64
    package var events: Int
    package var operations: Int
    package var acknowledged: Int
    /// How often a host took one for dead that was not starved and lived.
    package var falseDeaths: Int
    /// The same of starved ones.
    package var starvedDeaths: Int
    /// From the healing to equal logs everywhere; nil where that was not reached.
    package var recovery: Duration?
}

package struct Violation: Sendable, Hashable, CustomStringConvertible {
    /// The name that swarm.md §13 gives it: `I11`.
    package var invariant: String
    package var at: Duration
    package var detail: String

    package var description: String {
        let milliseconds = Int(at / .milliseconds(1))
        return "\(invariant) at \(milliseconds) ms: \(detail)"
    }
}
