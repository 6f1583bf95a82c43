/// What may go wrong in one run. Each seed switches its own few on (swarm testing, Groce et al. 2012): runs in which
/// everything fails at once find less than runs in which one thing fails often.
package struct Faults: OptionSet, Sendable, CustomStringConvertible {
    package let rawValue: UInt32

    package init(rawValue: UInt32) { self.rawValue = rawValue }

    /// Hosts or groups cut off from the others, both ways.
    package static let partitions = Faults(rawValue: 1 << 0)
    /// A path cut one way only.
    package static let oneWay = Faults(rawValue: 1 << 1)
    /// Every host clogged in one random order and unclogged in another.
    package static let swizzle = Faults(rawValue: 1 << 2)
    /// Connections reset.
    package static let resets = Faults(rawValue: 1 << 3)
    /// SIGSTOP, later SIGCONT.
    package static let pauses = Faults(rawValue: 1 << 4)
    /// kill -9, later a start.
    package static let kills = Faults(rawValue: 1 << 5)
    /// The unsynced end of the disk is lost, connections end in silence.
    package static let powerCuts = Faults(rawValue: 1 << 6)
    /// A start from an old copy of the disk.
    package static let rollbacks = Faults(rawValue: 1 << 7)
    /// A second host started from a copy of a running host's disk, its key included.
    package static let clones = Faults(rawValue: 1 << 8)
    package static let slowDisks = Faults(rawValue: 1 << 9)
    /// A full disk: commits fail, half of them after they were written.
    package static let fullDisks = Faults(rawValue: 1 << 10)
    /// Wall clocks that are wrong, drift and jump.
    package static let clocks = Faults(rawValue: 1 << 11)
    /// A host with another swarm's key on the same network.
    package static let foreign = Faults(rawValue: 1 << 12)
    /// A host that comes late, to a log that is long already.
    package static let latecomer = Faults(rawValue: 1 << 13)
    /// Conversations deleted while others write into them.
    package static let deletions = Faults(rawValue: 1 << 14)
    /// A receiver that reads slowly.
    package static let slowPeers = Faults(rawValue: 1 << 15)
    /// A host that gets the processor half of the time.
    package static let starvation = Faults(rawValue: 1 << 16)
    /// Discovery loses most of what it says.
    package static let deafness = Faults(rawValue: 1 << 17)

    /// One host changes what it sends on of others' operations; never drawn.
    package static let forgery = Faults(rawValue: 1 << 18)
    /// More hosts than are linked with one another: the tree carries what is fresh.
    package static let smallMesh = Faults(rawValue: 1 << 19)
    /// The swarm's key is changed, with hosts away; one host may be evicted.
    package static let rotations = Faults(rawValue: 1 << 20)

    /// Not drawn with the others, so that these stay what they are for each seed; forgery never.
    private static let drawnApart: Faults = [.forgery, .smallMesh, .rotations]

    private static let names: [(Faults, String)] = [
        (.partitions, "partitions"), (.oneWay, "one-way"), (.swizzle, "swizzle"), (.resets, "resets"),
        (.pauses, "pauses"), (.kills, "kills"), (.powerCuts, "power-cuts"), (.rollbacks, "rollbacks"),
        (.clones, "clones"), (.slowDisks, "slow-disks"), (.fullDisks, "full-disks"), (.clocks, "clocks"),
        (.foreign, "foreign"), (.latecomer, "latecomer"), (.deletions, "deletions"), (.slowPeers, "slow-peers"),
        (.starvation, "starvation"), (.deafness, "deafness"), (.forgery, "forgery"), (.smallMesh, "small-mesh"),
        (.rotations, "rotations"),
    ]

    package static let all = names.reduce(into: Faults()) { if $1.0 != .forgery { $0.insert($1.0) } }

    /// The names, as ``init(names:)`` reads them.
    package var description: String {
        let held = Self.names.filter { contains($0.0) }.map(\.1)
        return held.isEmpty ? "none" : held.joined(separator: ",")
    }

    /// Nil where a name is unknown.
    package init?(names text: String) {
        self = []
        guard text != "none" else { return }
        for name in text.split(separator: ",") {
            if name == "all" {
                formUnion(.all)
                continue
            }
            guard let fault = Self.names.first(where: { $0.1 == name }) else { return nil }
            insert(fault.0)
        }
    }

    /// Each on in a third of the runs; a tenth of the runs is quiet, so that a fault is known from its absence.
    static func draw(_ chance: inout Chance) -> Faults {
        let isQuiet = chance.hits(1, of: 10)
        var faults: Faults = []
        for (fault, _) in names where !drawnApart.contains(fault) && chance.hits(1, of: 3) && !isQuiet {
            faults.insert(fault)
        }
        return faults
    }

    /// Both dear or narrow: in a few of the runs, beside what was drawn.
    static func drawApart(_ drawn: Faults, _ chance: inout Chance) -> Faults {
        var faults = drawn
        let (isSmall, rotates) = (chance.hits(1, of: 20), chance.hits(1, of: 8))
        if isSmall, !drawn.isEmpty { faults.insert(.smallMesh) }
        // A clone confirms the new key in the name of the host that it was copied from, which nobody waits for then.
        if rotates, !drawn.isEmpty, !drawn.contains(.clones) { faults.insert(.rotations) }
        return faults
    }
}
