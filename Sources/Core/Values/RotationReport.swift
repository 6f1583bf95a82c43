/// Where a change of the swarm key stands (swarm.md §11).
package struct RotationReport: Hashable, Sendable {
    package enum Phase: String, Hashable, Sendable {
        /// The new key is being handed out; the old one is in use.
        case install
        /// The new one is in use; the old one is still accepted.
        case use
        /// Done: the old one is refused.
        case retired
    }

    package var phase: Phase
    package var from: SwarmID
    package var to: SwarmID
    package var confirmed: [NodeID]
    /// Members that have not confirmed the phase, absent ones included.
    package var waiting: [NodeID]

    package init(phase: Phase, from: SwarmID, to: SwarmID, confirmed: [NodeID], waiting: [NodeID]) {
        self.phase = phase
        self.from = from
        self.to = to
        self.confirmed = confirmed
        self.waiting = waiting
    }
}
