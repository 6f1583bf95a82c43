package import Core

/// One conversation as `/v1/mcp/contexts/{id}` shows it.
package struct ConversationView: Sendable {
    package var header: ConversationHeader
    /// In the order that every host computes alike (swarm.md §3).
    package var turns: [ConversationTurn]
    /// Heads of the conversation: above 1 where it was continued twice from one place.
    package var branches: Int
    /// SHA-256 over the turns in their order: equal on hosts that hold the same conversation. 64 hex digits.
    package var digest: String

    package init(header: ConversationHeader, turns: [ConversationTurn], branches: Int, digest: String) {
        self.header = header
        self.turns = turns
        self.branches = branches
        self.digest = digest
    }
}

/// A turn in its place.
package struct ConversationTurn: Hashable, Sendable {
    package var dot: Dot
    package var timestamp: HybridTimestamp
    package var turn: Turn

    package init(dot: Dot, timestamp: HybridTimestamp, turn: Turn) {
        self.dot = dot
        self.timestamp = timestamp
        self.turn = turn
    }
}
