package import Core

/// How fast snapshots are handed out, to each peer and in all: what is fresh goes to everyone over the same wires and is
/// not to wait for a newcomer. Virtual scheduling (the leaky bucket of ITU-T I.371): each piece moves the moment at which
/// its peer, and all together, would have been served at the allowed rate; it waits while that is ahead of the clock.
///
/// Bounds: `Limits.knownHosts` peers; those whose moment has passed are forgotten.
package struct SnapshotPace: Sendable {
    package struct Rates: Sendable {
        package var perPeer: Int
        package var total: Int

        /// Bytes a second.
        package init(perPeer: Int = Limits.snapshotPeerRate, total: Int = Limits.snapshotRate) {
            self.perPeer = max(1, perPeer)
            self.total = max(1, total)
        }
    }

    /// So far ahead a peer may be.
    private static let burst = Duration.milliseconds(50)

    private let rates: Rates
    private var peers: [NodeID: Duration] = [:]
    private var all = Duration.zero

    package init(_ rates: Rates = Rates()) { self.rates = rates }

    /// How long a piece of so many bytes waits before it is sent. To be asked once for each piece.
    package mutating func wait(for bytes: Int, to peer: NodeID, at now: Duration) -> Duration {
        if peers.count >= Limits.knownHosts { peers = peers.filter { $0.value > now } }
        let own = max(peers[peer] ?? now, now)
        let common = max(all, now)
        if peers.count < Limits.knownHosts { peers[peer] = own + Self.time(bytes, rates.perPeer) }
        all = common + Self.time(bytes, rates.total)
        return max(.zero, max(own, common) - now - Self.burst)
    }

    private static func time(_ bytes: Int, _ rate: Int) -> Duration { .seconds(Double(bytes) / Double(rate)) }
}
