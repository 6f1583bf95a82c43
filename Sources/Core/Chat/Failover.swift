/// An answer that goes on after whoever wrote it has failed: on another host, or by an engine that was started again.
package struct Failover: Hashable, Sendable {
    package enum Cause: String, Hashable, Sendable, CaseIterable {
        /// The link with the host broke: its process has ended, or it was shut down.
        case lost
        /// Nothing more was heard of the host: it is frozen, or cut off.
        case silent
        /// The host is there; its engine failed.
        case engine
        /// The host takes the request no more: too much to do, or its model is gone.
        case refused
        /// The host gives its work away.
        case drained
    }

    /// How the next one takes up the answer.
    package enum Way: String, Hashable, Sendable, CaseIterable {
        /// From its beginning: nothing of it had been given out.
        case begun
        /// Right behind the text that had been given out.
        case continued
        /// It was written once more from its beginning, and agreed with what had been given out, which was left out.
        case repeated
    }

    package var from: NodeID
    package var to: NodeID
    package var cause: Cause
    package var way: Way

    package init(from: NodeID, to: NodeID, cause: Cause, way: Way) {
        self.from = from
        self.to = to
        self.cause = cause
        self.way = way
    }
}

/// The ``RuntimeError/cause`` of an error that tells that a peer is gone rather than that it has failed.
package struct HostGone: Error, Hashable, Sendable {
    package var isSilent: Bool

    package init(isSilent: Bool) { self.isSilent = isSilent }
}
