package import Core

/// Consistent hashing (Karger et al. 1997): every host stands on a ring in ``points`` places, a key belongs to the next
/// host behind it, and a host that comes or goes moves only its own share. Every host computes the same owners.
package struct HashRing: Hashable, Sendable {
    package static let points = 64

    private struct Point: Hashable, Sendable {
        var hash: UInt64
        var node: NodeID
    }

    private let ring: [Point]
    private let hosts: Int

    package init(_ nodes: some Sequence<NodeID>) {
        let nodes = Set(nodes)
        hosts = nodes.count
        ring = nodes.flatMap { node in
            (0..<UInt8(Self.points)).map { point in
                var hash = StableHash()
                hash.combine(node.bytes.bytes + [point])
                return Point(hash: hash.value, node: node)
            }
        }.sorted { ($0.hash, $0.node) < ($1.hash, $1.node) }
    }

    /// The owner of a key and its successors, without repetition; at most `count`, fewer where there are fewer hosts.
    package func owners(of key: UInt64, count: Int) -> [NodeID] {
        guard !ring.isEmpty else { return [] }
        var low = 0
        var high = ring.count
        while low < high {
            let middle = (low + high) / 2
            if ring[middle].hash < key { low = middle + 1 } else { high = middle }
        }
        var owners: [NodeID] = []
        for step in 0..<ring.count where owners.count < min(count, hosts) {
            let node = ring[(low + step) % ring.count].node
            if !owners.contains(node) { owners.append(node) }
        }
        return owners
    }

    package static func key(of text: String) -> UInt64 {
        var hash = StableHash()
        hash.combine(text.utf8)
        return hash.value
    }
}
