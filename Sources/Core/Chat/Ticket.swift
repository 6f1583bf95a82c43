/// By what a request waits for its turn at a model.
package struct Ticket: Hashable, Sendable {
    /// The next turn is the best class's, and within it of the caller who has had the least.
    package enum Priority: String, Hashable, Sendable, CaseIterable, Comparable {
        case high
        case normal
        case low

        private var rank: Int {
            switch self {
            case .high: 0
            case .normal: 1
            case .low: 2
            }
        }

        /// What comes first is less.
        package static func < (left: Priority, right: Priority) -> Bool { left.rank < right.rank }
    }

    /// Whose it is: a hash of the owner's name, the same on every host.
    package var caller: UInt64
    package var priority: Priority
    /// How long it may wait for its turn; nil: as long as it takes.
    package var patience: Duration?
    /// How often it has gone from one host's queue to another's.
    package var moves: Int

    package init(
        caller: UInt64 = 0, priority: Priority = .normal, patience: Duration? = nil, moves: Int = 0
    ) {
        self.caller = caller
        self.priority = priority
        self.patience = patience
        self.moves = moves
    }
}

/// The ``RuntimeError/cause`` of an error that tells that a request has left a queue without its turn. Nothing has
/// failed then, and nothing had begun.
package enum QueueExit: Error, Hashable, Sendable {
    /// There was no room; it would have been, or was, the `position`-th of those that wait.
    case full(position: Int)
    /// That host has nothing to do: the request is to be asked there.
    case moved(to: NodeID)
    /// It has waited for as long as it may.
    case expired(position: Int)
}
