package import Core

package struct Membership: Sendable {
    package enum Event: Hashable, Sendable {
        /// ``Mesh`` adopted a link with it.
        case linked(NodeID)
        case unlinked(NodeID)
        /// Nobody listens any more where it did.
        case refused(NodeID)
        /// Anything came from it over its link: counts as an answered probe.
        case heard(NodeID)
        case received(MembershipMessage, from: NodeID)
        /// A message to it could not be sent.
        case sendFailed(NodeID)
        /// This host's own event loop was late by so much.
        case lagged(Duration)
        case changed(MemberFacts)
        /// Out of the swarm for good.
        case evicted(NodeID)
        /// This host stops: says so to everyone. Nothing happens after it.
        case leaving
        case ticked
    }

    package enum Effect: Hashable, Sendable {
        /// The receiver is linked.
        case send(MembershipMessage, to: NodeID)
        /// New, or another state, or other facts.
        case changed(Member)
        /// Evicted, or dead for so long that there was no room.
        case forgot(NodeID)
        /// Two living instances carry this identity (perhaps this host's own).
        case cloned(NodeID, InstanceID)
    }

    /// - Parameter wallClock: milliseconds since 1970 at the start: the first incarnation.
    package init(
        node: NodeID, instance: InstanceID, facts: MemberFacts, authority: ClaimAuthority, wallClock: UInt64,
        seed: UInt64
    ) {}
    /// When the next `ticked` is due. Machine time stands still while ticks are late: a host that was stopped for a
    /// minute must not take the others for dead.
    package var wake: Duration { .seconds(3600) }
    /// Everyone known, this host left out, by id.
    package var members: [Member] { [] }
    package mutating func step(_ event: Event, now: Duration) -> [Effect] { [] }
}

/// Signs this host's claims and checks those of others. In production Ed25519; simulations may take a hash.
package struct ClaimAuthority: Sendable {
    /// This host's public key, 32 bytes.
    package var publicKey: [UInt8]
    /// 64 bytes; empty when signing failed, which makes the claim void.
    package var sign: @Sendable ([UInt8]) -> [UInt8]
    package var isValid: @Sendable (_ signature: [UInt8], _ message: [UInt8], _ publicKey: [UInt8]) -> Bool
    package var node: @Sendable (_ publicKey: [UInt8]) -> NodeID?

    package init(
        publicKey: [UInt8], sign: @escaping @Sendable ([UInt8]) -> [UInt8],
        isValid: @escaping @Sendable ([UInt8], [UInt8], [UInt8]) -> Bool,
        node: @escaping @Sendable ([UInt8]) -> NodeID?
    ) {
        self.publicKey = publicKey
        self.sign = sign
        self.isValid = isValid
        self.node = node
    }
}
