package import Core
package import Cryptography
internal import Synchronization

/// The swarm keys in force, for those who must know them without waiting: the beacons' authentication.
package final class AcceptedKeys: Sendable {
    private let keys: Mutex<[SwarmKeys]>

    package init(_ keys: [SwarmKeys]) { self.keys = Mutex(keys) }

    func replace(_ new: [SwarmKeys]) { keys.withLock { $0 = new } }

    /// Nil for a swarm that this host is not in.
    package func discoveryKey(of swarm: SwarmID) -> SymmetricKey? {
        keys.withLock { $0.first { $0.tag == swarm.bytes.bytes }?.discovery }
    }
}
