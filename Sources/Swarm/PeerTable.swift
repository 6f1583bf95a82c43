internal import Core

/// The linked peers by id, ascending. They are looked at several times with each message, so what is read or changed is
/// read and changed in its place: a dictionary would copy all that is known of a peer each time.
struct PeerTable: Sendable {
    private(set) var keys: [NodeID] = []
    /// None is nil but for a moment.
    private var states: [Replication.Peer?] = []

    var count: Int { keys.count }

    subscript(node: NodeID) -> Replication.Peer? {
        _read {
            let place = place(of: node)
            if holds(node, at: place) { yield states[place] } else { yield nil }
        }
        _modify {
            let place = place(of: node)
            if !holds(node, at: place) {
                keys.insert(node, at: place)
                states.insert(nil, at: place)
            }
            yield &states[place]
            if states[place] == nil {
                keys.remove(at: place)
                states.remove(at: place)
            }
        }
    }

    /// Returns whether it was there.
    mutating func remove(_ node: NodeID) -> Bool {
        let place = place(of: node)
        guard holds(node, at: place) else { return false }
        keys.remove(at: place)
        states.remove(at: place)
        return true
    }

    private func holds(_ node: NodeID, at place: Int) -> Bool { place < keys.count && keys[place] == node }

    /// Where it is, or would be.
    private func place(of node: NodeID) -> Int {
        var (low, high) = (0, keys.count)
        while low < high {
            let middle = (low + high) / 2
            if keys[middle] < node { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
