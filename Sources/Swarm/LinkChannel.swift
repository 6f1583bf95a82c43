/// The first byte of every message on a link: whose it is. A channel that a host does not know is skipped, so that
/// older hosts stay in the swarm.
package enum LinkChannel: UInt8, Sendable, CaseIterable {
    /// ``Mesh``: greetings, facts about hosts, addresses of others.
    case mesh = 1
    /// ``Membership``: probes and claims.
    case membership = 2
    /// Replication: batches, vectors, acknowledgements.
    case replication = 3
    /// The swarm's key: rotation and eviction.
    case trust = 4
    /// Questions of a doctor on another host.
    case diagnosis = 5
    /// ``Overlay``: broadcasts in swarms of more than ``Limits/meshHosts``.
    case overlay = 6
    /// ``HostLoad``: how busy a host is.
    case load = 7
}
