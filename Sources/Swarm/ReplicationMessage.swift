package import Core

/// What two hosts tell each other about the log. ``ReplicationEncoder`` and ``ReplicationDecoder`` put it into bytes.
package enum ReplicationMessage: Hashable, Sendable {
    /// A place in an origin's stream; 0 is before its first operation.
    package struct Mark: Hashable, Sendable {
        package var origin: Origin
        package var sequence: UInt64

        package init(_ origin: Origin, _ sequence: UInt64) {
            self.origin = origin
            self.sequence = sequence
        }
    }

    /// A place, and the beginning of the chain hash there.
    package struct Head: Hashable, Sendable {
        package var mark: Mark
        package var chain: Bytes16

        package init(_ mark: Mark, _ chain: Bytes16) {
            self.mark = mark
            self.chain = chain
        }
    }

    /// What is in one host's store.
    package struct Holding: Hashable, Sendable {
        package var node: NodeID
        package var marks: [Mark]

        package init(node: NodeID, marks: [Mark]) {
            self.node = node
            self.marks = marks
        }
    }

    /// Fresh operations, as their author sealed them.
    case push([OperationBatch])
    /// What a store had, in answer to a pull.
    case answer(OperationBatch)
    /// How far the sender's store reaches: every origin, or those that changed since it last said; and the digest of
    /// just that state. `isQuestion` asks for the same in return.
    case vector([Mark], isWhole: Bool, isQuestion: Bool, digest: Bytes16)
    /// Nothing new, or much on its way: the digest of what the sender's store holds.
    case keepalive(digest: Bytes16)
    /// These are in the sender's store now.
    case stored([Mark])
    /// Asks for the operations above these places.
    case pull([Mark])
    /// The answer where there is none: nothing sealed stands above the place here.
    case nothing(Mark)
    /// Whom the sender is linked with.
    case neighbours([NodeID])
    /// Equal vectors had different digests: where each origin stands, to find the one that differs.
    case heads([Head])
    /// These hosts' stores have these operations, by their own word: on its way to the author.
    case holdings([Holding])
}
