/// The body of a `turn.user` or `turn.assistant` operation: one message and what belongs to it.
package struct Turn: Hashable, Sendable {
    /// How an assistant's message came to be.
    package struct Outcome: Hashable, Sendable {
        package var finishReason: FinishReason
        package var usage: TokenUsage
        /// The model's name on the host that answered.
        package var model: String

        package init(finishReason: FinishReason, usage: TokenUsage, model: String) {
            self.finishReason = finishReason
            self.usage = usage
            self.model = model
        }
    }

    package var message: Message
    /// A keyed hash of the client's idempotency key; two turns with the same key are one request, retried.
    package var requestKey: Bytes16?
    /// Set on assistant turns only.
    package var outcome: Outcome?
    /// The keyed hash under which every host recognises the history that ends with this turn, when a client sends it.
    package var history: PrefixHash?
    /// What the client's dialect wants back with it (``ChatRequest/annotation``): JSON.
    package var annotation: JSON?

    package init(
        message: Message, requestKey: Bytes16? = nil, outcome: Outcome? = nil, history: PrefixHash? = nil,
        annotation: JSON? = nil
    ) {
        self.message = message
        self.requestKey = requestKey
        self.outcome = outcome
        self.history = history
        self.annotation = annotation
    }
}

/// The body of a `conv.meta` operation.
package struct ConversationMeta: Hashable, Sendable {
    package var id: ConversationID
    package var owner: Owner
    /// What the client has noted about it; nil where this description says nothing of that. Of several the newest
    /// counts.
    package var metadata: JSON?
    /// Said of one turn, which the operation then depends on.
    package var note: TurnNote?

    package init(id: ConversationID, owner: Owner, metadata: JSON? = nil, note: TurnNote? = nil) {
        self.id = id
        self.owner = owner
        self.metadata = metadata
        self.note = note
    }
}

/// What is said of a turn after it was written.
package enum TurnNote: Hashable, Sendable {
    /// Stands in the place of the annotation that the turn came with; of several the newest.
    case annotation(JSON)
    /// Whoever writes the answer to it shall stop.
    case cancelled
}
