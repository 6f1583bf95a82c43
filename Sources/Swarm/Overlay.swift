package import Core

package struct Overlay: Sendable {
    package enum Event: Hashable, Sendable {
        /// ``Mesh`` adopted a link with it; lost it.
        case linked(NodeID)
        case unlinked(NodeID)
        /// ``Membership`` holds it alive; holds it no longer.
        case joined(NodeID)
        case gone(NodeID)
        /// This host begins a broadcast.
        case published(id: Bytes16, payload: [UInt8])
        case received(OverlayMessage, from: NodeID)
        case ticked
    }

    package enum Effect: Hashable, Sendable {
        /// The receiver is linked.
        case send(OverlayMessage, to: NodeID)
        /// Another host's broadcast, once.
        case deliver(id: Bytes16, payload: [UInt8], from: NodeID, hops: Int)
        /// Whom ``Mesh`` should be linked with: nil for everyone.
        case neighbours([NodeID]?)
    }

    package init(node: NodeID, seed: UInt64) {}
    /// When the next `ticked` is due.
    package var wake: Duration { .seconds(3600) }
    package mutating func step(_ event: Event, now: Duration) -> [Effect] { [] }
}
