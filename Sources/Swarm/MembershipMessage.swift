package import Core

/// A word about a member. `alive` and `left` are its own, signed; the others are what someone saw, and are refuted by
/// the member's next incarnation.
package enum MembershipClaim: Hashable, Sendable {
    case own(SignedClaim)
    case suspect(NodeID, incarnation: UInt64, by: NodeID)
    case dead(NodeID, incarnation: UInt64, by: NodeID)
}

/// A member's own word about itself: that it is there, or that it leaves.
package struct SignedClaim: Hashable, Sendable {
    package var node: NodeID
    package var instance: InstanceID
    /// Milliseconds since 1970 at the start of a run, then one more for each change or refutation.
    package var incarnation: UInt64
    package var isLeaving: Bool
    package var facts: MemberFacts
    /// The 32-byte public key whose hash is `node`.
    package var author: [UInt8]
    /// 64 bytes over ``message``.
    package var signature: [UInt8]
}

/// What hosts say on ``LinkChannel/membership``.
package enum MembershipMessage: Hashable, Sendable {
    case ping(UInt64, [MembershipClaim])
    case ack(UInt64, [MembershipClaim])
    /// Please ping this one for me.
    case indirectPing(UInt64, NodeID, [MembershipClaim])
    /// It does not answer me either.
    case nack(UInt64, [MembershipClaim])
    case gossip([MembershipClaim])
    /// A hash over all that the sender holds; the receiver whose differs answers with its `table`.
    case digest(UInt64)
    /// What the sender holds: node, incarnation, state. `answer` asks for the same in return.
    case table([MembershipEntry], answer: Bool)
    /// Please tell what you hold of these.
    case request([NodeID])
}

package struct MembershipEntry: Hashable, Sendable {
    package var node: NodeID
    package var incarnation: UInt64
    package var state: Member.State

    package init(node: NodeID, incarnation: UInt64, state: Member.State) {
        self.node = node
        self.incarnation = incarnation
        self.state = state
    }
}

extension MembershipMessage {
    package var encoded: [UInt8] { [] }
    /// Nil: a kind of message that this version does not know, to be skipped.
    package static func decode(_ bytes: [UInt8]) throws(RuntimeError) -> MembershipMessage? { nil }
}
