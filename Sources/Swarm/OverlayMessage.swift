package import Core

/// What hosts say on ``LinkChannel/overlay``.
package enum OverlayMessage: Hashable, Sendable {
    /// A message on its way through the tree, and how many hosts it passed.
    case gossip(id: Bytes16, hops: Int, payload: [UInt8])
    /// The sender has these; the receiver asks when nobody else brings them.
    case iHave([Bytes16])
    /// Send me these, and what comes after them: you are my parent in the tree now.
    case graft([Bytes16])
    /// Send me no payloads; I have them from others.
    case prune
}

extension OverlayMessage {
    package var encoded: [UInt8] { [] }
    /// Nil: a kind of message that this version does not know, to be skipped.
    package static func decode(_ bytes: [UInt8]) throws(RuntimeError) -> OverlayMessage? { nil }
}
