package import Core

/// Who is linked with whom, as the members say it in their claims: each names its neighbours by the first four bytes of
/// their ids. In a swarm of a thousand two hosts share those once in nine thousand times; then one link too many shows.
package struct Topology: Sendable {
    /// Both of its ends tell of it; the lower first.
    package struct Link: Hashable, Comparable, Sendable {
        package let first: NodeID
        package let second: NodeID

        init(_ one: NodeID, _ other: NodeID) {
            first = min(one, other)
            second = max(one, other)
        }

        package static func < (left: Link, right: Link) -> Bool {
            (left.first, left.second) < (right.first, right.second)
        }
    }

    private var neighbours: [NodeID: [NodeID]] = [:]

    /// - Parameter told: those who are there, each with the neighbours that it names.
    package init(_ told: [(node: NodeID, neighbours: [UInt32])]) {
        let named = Dictionary(told.map { ($0.node, Set($0.neighbours)) }, uniquingKeysWith: { first, _ in first })
        let nodes = Dictionary(grouping: named.keys, by: \.beginning)
        for (node, theirs) in named {
            neighbours[node] = theirs.sorted().flatMap { nodes[$0] ?? [] }.filter { other in
                other != node && named[other]?.contains(node.beginning) == true
            }
        }
    }

    /// Ascending.
    package var links: [Link] {
        Set(neighbours.flatMap { node, others in others.map { Link(node, $0) } }).sorted()
    }

    package func neighbours(of node: NodeID) -> [NodeID] { neighbours[node] ?? [] }

    /// All to whom a path of links leads from `node`, itself included.
    func reached(from node: NodeID) -> Set<NodeID> {
        var reached: Set<NodeID> = [node]
        var border = [node]
        while let next = border.popLast() {
            for other in neighbours[next] ?? [] where reached.insert(other).inserted { border.append(other) }
        }
        return reached
    }
}

extension NodeID {
    /// The first four bytes: what claims name a neighbour by.
    package var beginning: UInt32 { UInt32(truncatingIfNeeded: bytes.high >> 32) }
}
