/// One atomic write: operations, and the rows of the views that follow from them.
package struct Commit: Sendable {
    package var operations: [Operation]
    /// The heads of the operations' origins after them.
    package var heads: [LogHead]
    /// Rows to insert or replace, by stream.
    package var conversations: [ConversationHeader]
    package var prefixes: [PrefixMatch]
    /// The authors' word for the operations, of each origin ascending. The store keeps the latest of each origin, and
    /// earlier ones at distances that let a part of a stream travel; one that is not above the latest is ignored.
    /// One may also come later than the operations that it covers.
    package var seals: [BatchSeal]
    /// Whether it must outlive a power cut before the call returns. What came from a peer need not: the peer has it.
    package var durability: Durability
    /// Operations, also of this commit, whose content goes: the body becomes the SHA-256 that the operation had, with
    /// ``Operation/Flags/erased``; the prefixes that lead to it go. One without a body only loses its prefixes; one
    /// that is erased already stays. All of them must be in the store.
    package var erasures: [Dot]
    /// Conversations whose row of the view goes; one that stands in ``conversations`` too is replaced by that.
    package var removals: [StreamID]

    package enum Durability: Hashable, Sendable {
        /// Returns when it is on disk (fsync).
        case synced
        /// Returns when it would outlive the process; the disk follows within a second.
        case relaxed
    }

    package init(
        operations: [Operation] = [], heads: [LogHead] = [], conversations: [ConversationHeader] = [],
        prefixes: [PrefixMatch] = [], seals: [BatchSeal] = [], durability: Durability = .synced,
        erasures: [Dot] = [], removals: [StreamID] = []
    ) {
        self.operations = operations
        self.heads = heads
        self.conversations = conversations
        self.prefixes = prefixes
        self.seals = seals
        self.durability = durability
        self.erasures = erasures
        self.removals = removals
    }
}
