package import Core

/// What is streamed to the client of one request.
package enum ChatEvent: Hashable, Sendable {
    /// The next piece of one of the answers; whole characters, never empty.
    case text(choice: Int, String)
    /// The next piece of what the model thinks before it answers.
    case reasoning(choice: Int, String)
    case toolCall(choice: Int, ToolCallPiece)
    /// Of the tokens behind the next piece of text.
    case logprobs(choice: Int, [TokenProbability])
    /// What follows is written elsewhere.
    case moved(choice: Int, Failover)
    /// One answer is complete. For the answer that the conversation keeps, its turn is acknowledged by now.
    case finished(choice: Int, reason: FinishReason, usage: TokenUsage)
}

/// Which part of the conversation the model saw (design.md §3): nothing is left out silently.
package struct ContextReport: Hashable, Sendable {
    /// Tokens of the prompt; counted or estimated as ``TokenUsage/isExact`` says.
    package var promptTokens: Int
    package var contextLength: Int
    /// Messages in the prompt.
    package var included: Int
    /// Older messages that did not fit.
    package var omitted: Int

    package init(promptTokens: Int, contextLength: Int, included: Int, omitted: Int) {
        self.promptTokens = promptTokens
        self.contextLength = contextLength
        self.included = included
        self.omitted = omitted
    }
}

/// An answer that has begun: the engine has sent its first event, and what was asked is on disk where the
/// conversation is kept.
package struct ChatAnswer: Sendable {
    /// Nil where nothing is kept.
    package var conversation: ConversationID?
    /// The turn that is answered, by which every host finds this exchange again; nil where nothing is kept.
    package var question: Dot?
    /// Seconds since 1970.
    package var created: Int64
    /// The name of the model that answers, on the host that has it (the reply echoes the requested one).
    package var model: String
    /// Which engine and file answer.
    package var fingerprint: String
    /// The host that wrote the first event.
    package var servedBy: NodeID
    /// Why that host, in a few words; nil where nothing was chosen.
    package var routeReason: String?
    package var context: ContextReport
    /// Single pass. Ending the iteration early (the client has gone) stops the engine; what was written is kept as
    /// an aborted turn. Throws ``RuntimeError`` when the engine fails in mid-answer.
    package var events: EventStream<ChatEvent>
    /// How many stores have what was written last of this exchange; 0 where nothing is written. Asked before the first
    /// event it is the question that counts, after the last one the answer.
    package var replicas: @Sendable () async -> Int

    package init(
        conversation: ConversationID?, question: Dot? = nil, created: Int64, model: String, fingerprint: String,
        servedBy: NodeID, routeReason: String? = nil,
        context: ContextReport, events: EventStream<ChatEvent>,
        replicas: @escaping @Sendable () async -> Int = { 0 }
    ) {
        self.conversation = conversation
        self.question = question
        self.created = created
        self.model = model
        self.fingerprint = fingerprint
        self.servedBy = servedBy
        self.routeReason = routeReason
        self.context = context
        self.events = events
        self.replicas = replicas
    }
}
