import Simulation
import Testing

extension MuseumTests {
    /// Router, queues, links for work, continuation and standing by, in one world. Worlds keep a thread to themselves:
    /// one after the other, with the museum's.
    @Suite("Hosts that answer") struct ServingTests {
        @Test(
            "Each request ends once, exactly, and none is lost that somebody stood by for",
            arguments: [2, 4] as [UInt64])
        func clean(seed: UInt64) {
            let report = ServingWorld.run(seed: seed)
            #expect(report.violations.isEmpty, "swarm-simulator --serving --seeds 1 --start \(seed)")
            #expect(report.ends.values.reduce(0, +) == report.asks)
        }

        @Test("Everything happens: answers move, are stolen, go on elsewhere and are taken up") func happens() {
            let report = ServingWorld.run(seed: 21)
            #expect(report.steals > 0)
            #expect(report.failovers > 0)
            #expect(report.takenUp > 0)
            #expect(Set(report.ends.keys).isSuperset(of: [.answered, .refused, .expired, .left]))
        }

        @Test("Each planted mistake is found", arguments: ServingBug.allCases)
        func found(bug: ServingBug) {
            #expect(!ServingWorld.run(seed: 21, bug: bug).violations.isEmpty, "\(bug.rawValue) got away")
        }

        @Test("Equal seeds give equal runs") func repeats() {
            let (one, other) = (ServingWorld.run(seed: 3), ServingWorld.run(seed: 3))
            #expect(one.events == other.events)
            #expect(one.ends == other.ends)
        }
    }
}
