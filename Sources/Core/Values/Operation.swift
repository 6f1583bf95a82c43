/// One entry of the replicated log: the only way in which shared data ever changes (swarm.md §2).
package struct Operation: Hashable, Sendable {
    /// What an operation does. Unknown kinds are kept and passed on, not applied, so that an older host loses nothing.
    package struct Kind: RawRepresentable, Hashable, Sendable {
        package let rawValue: UInt8
        package init(rawValue: UInt8) { self.rawValue = rawValue }

        /// A client's part of a turn; the body is a ``Turn``.
        package static let userTurn = Kind(rawValue: 1)
        /// A model's part of a turn; the body is a ``Turn``, its first dependency the turn it answers.
        package static let assistantTurn = Kind(rawValue: 2)
        /// Whose conversation this is and what it is called; the body is a ``ConversationMeta``.
        package static let conversationMeta = Kind(rawValue: 4)
        /// Removes the stream's content everywhere; no body.
        package static let delete = Kind(rawValue: 5)
        /// Removes the content of those turns that it depends on, everywhere; what follows them stays. With a body of
        /// one byte also all answers to them, whenever they come.
        package static let erase = Kind(rawValue: 6)

        /// Shows that an author signed two different operations with one dot; the body is the proof.
        package static let equivocation = Kind(rawValue: 7)
        /// What happens to a request that is answered in the background; the body is a `RequestNote` of Swarm.
        package static let request = Kind(rawValue: 8)
        /// A client's token was made, or opens nothing any more; the body is a `TokenNote` of Guardian.
        package static let token = Kind(rawValue: 9)
        /// Somebody was refused, or used rights that not everyone has; the body is an `AuditEntry` of Guardian.
        package static let audit = Kind(rawValue: 10)

        /// Of streams that are no conversations.
        package var isNote: Bool { self == .request || self == .token || self == .audit }

        /// Takes content of earlier operations away.
        package var removes: Bool { self == .delete || self == .erase }
        package var isTurn: Bool { self == .userTurn || self == .assistantTurn }
    }

    /// Properties of the encoded form.
    package struct Flags: OptionSet, Hashable, Sendable {
        package let rawValue: UInt8
        package init(rawValue: UInt8) { self.rawValue = rawValue }

        /// The content was deleted: `body` holds the 32-byte SHA-256 of the operation as it was, so chains still verify.
        package static let erased = Flags(rawValue: 1)
    }

    package var dot: Dot
    package var kind: Kind
    package var flags: Flags
    package var timestamp: HybridTimestamp
    package var stream: StreamID
    /// The heads of the stream that the author saw.
    package var dependencies: [Dot]
    package var body: [UInt8]

    package init(
        dot: Dot, kind: Kind, flags: Flags = [], timestamp: HybridTimestamp, stream: StreamID,
        dependencies: [Dot] = [], body: [UInt8]
    ) {
        self.dot = dot
        self.kind = kind
        self.flags = flags
        self.timestamp = timestamp
        self.stream = stream
        self.dependencies = dependencies
        self.body = body
    }
}
