/// How much of every origin's stream is held: the highest sequence without a gap before it (swarm.md §1, §5).
package struct VersionVector: Hashable, Sendable {
    private var heads: [Origin: UInt64] = [:]

    package init() {}

    /// 0 for an origin never seen.
    package subscript(origin: Origin) -> UInt64 {
        get { heads[origin] ?? 0 }
        set { heads[origin] = newValue == 0 ? nil : newValue }
    }

    package func contains(_ dot: Dot) -> Bool { dot.sequence <= self[dot.origin] }

    /// Ascending by origin, so that every host and every run sees the same order.
    package var entries: [(origin: Origin, sequence: UInt64)] {
        heads.sorted { $0.key < $1.key }.map { (origin: $0.key, sequence: $0.value) }
    }

    package var isEmpty: Bool { heads.isEmpty }

    /// The least vector that covers both.
    package mutating func merge(_ other: VersionVector) {
        heads.merge(other.heads) { max($0, $1) }
    }

    /// Whether everything in `other` is held here too.
    package func covers(_ other: VersionVector) -> Bool {
        other.heads.allSatisfy { $0.value <= self[$0.key] }
    }
}
