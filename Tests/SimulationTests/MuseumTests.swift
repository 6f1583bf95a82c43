import Simulation
import Testing

/// Re-planted bugs: the simulator finds each within a few seeds, and nothing in the same seeds without it.
@Suite(.serialized) struct MuseumTests {
    struct Exhibit: CustomTestStringConvertible, Sendable {
        var bug: Simulation.Bug
        var faults: Faults
        /// One of these shows it.
        var invariants: Set<String>
        var hosts = 3
        var seeds: ClosedRange<UInt64> = 1...3

        var testDescription: String { bug.rawValue }

        func options(_ seed: UInt64, bug: Simulation.Bug?) -> RunOptions {
            var options = RunOptions(seed: seed)
            options.length = .seconds(32)
            options.hosts = hosts
            options.faults = faults
            options.bug = bug
            return options
        }
    }

    static let exhibits: [Exhibit] = [
        Exhibit(bug: .offByOne, faults: .partitions, invariants: ["I12"]),
        Exhibit(
            bug: .storedBeforeDisk, faults: [.kills, .partitions, .slowDisks], invariants: ["I12", "I14"], seeds: 5...5),
        Exhibit(
            bug: .acknowledgedOnPush, faults: [.kills, .partitions, .slowDisks], invariants: ["I14"], seeds: 25...25),
        Exhibit(bug: .unsyncedTurns, faults: [.powerCuts, .partitions], invariants: ["I14"], seeds: 16...18),
        Exhibit(bug: .refusalIgnored, faults: .fullDisks, invariants: ["I10", "I12", "I14"]),
        Exhibit(
            bug: .keptEpoch, faults: [.kills, .slowDisks, .powerCuts, .partitions], invariants: ["I9"], seeds: 19...20),
        Exhibit(bug: .lostTombstone, faults: .deletions, invariants: ["I13"]),
        Exhibit(bug: .appliedTwice, faults: .kills, invariants: ["I11"]),
        Exhibit(bug: .ignoredDependencies, faults: .clocks, invariants: ["I11"]),
        Exhibit(bug: .lostVector, faults: .partitions, invariants: ["wire", "I12"]),
        Exhibit(bug: .lostReads, faults: .partitions, invariants: ["I12", "I20"]),
        Exhibit(bug: .trustedRelay, faults: [.forgery, .partitions], invariants: ["I9"], seeds: 10...10),
        Exhibit(bug: .deafToSuspicion, faults: [.partitions, .pauses], invariants: ["I18"]),
        Exhibit(bug: .staleLink, faults: .resets, invariants: ["links"]),
        Exhibit(bug: .wallClockAsTime, faults: [.clocks, .deafness], invariants: ["I12"], seeds: 341...341),
        Exhibit(bug: .repeatedMessage, faults: [], invariants: ["wire"]),
    ]

    @Test("Each bug is found", arguments: exhibits)
    func found(exhibit: Exhibit) {
        let found = exhibit.seeds.contains { seed in
            World.run(exhibit.options(seed, bug: exhibit.bug)).violations.contains {
                exhibit.invariants.contains($0.invariant)
            }
        }
        #expect(found, "\(exhibit.bug.rawValue) got away in seeds \(exhibit.seeds)")
    }

    @Test("The shipped code has none of them in the same seeds", arguments: exhibits)
    func clean(exhibit: Exhibit) {
        for seed in exhibit.seeds {
            let report = World.run(exhibit.options(seed, bug: nil))
            #expect(report.violations.isEmpty, "seed \(seed): replay with \(exhibit.options(seed, bug: nil).flags)")
        }
    }

    @Test("The museum shows every bug") func complete() {
        #expect(Set(Self.exhibits.map(\.bug)) == Set(Simulation.Bug.allCases))
    }

    @Test("More hosts than links: the tree, partitions and deaths break nothing", arguments: [3, 5] as [UInt64])
    func smallMesh(seed: UInt64) { expectClean(seed, hosts: 10, [.smallMesh, .partitions, .kills]) }

    @Test(
        "The key changes while hosts come and go; who is evicted gets nothing more",
        arguments: 1...6 as ClosedRange<UInt64>)
    func rotations(seed: UInt64) { expectClean(seed, hosts: 5, [.rotations, .partitions, .kills, .powerCuts]) }

    private func expectClean(_ seed: UInt64, hosts: Int, _ faults: Faults) {
        var options = RunOptions(seed: seed)
        options.length = .seconds(40)
        options.hosts = hosts
        options.faults = faults
        let report = World.run(options)
        #expect(report.violations.isEmpty, "\(report.violations): replay with \(options.flags)")
    }
}
