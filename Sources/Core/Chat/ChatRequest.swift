/// How the next token is chosen. Nil leaves a choice to the engine's default.
package struct Sampling: Hashable, Sendable {
    /// 0 is greedy; the range is 0…2.
    package var temperature: Double?
    /// 0…1
    package var topP: Double?
    /// 0 switches it off.
    package var topK: Int?
    /// 0…1
    package var minP: Double?
    package var seed: UInt64?
    /// -2…2
    package var presencePenalty: Double?
    /// -2…2
    package var frequencyPenalty: Double?
    /// Added to the logits of tokens of the model's own vocabulary, by their number; -100…100
    package var logitBias: [Int: Double] = [:]

    package init(
        temperature: Double? = nil, topP: Double? = nil, topK: Int? = nil, minP: Double? = nil, seed: UInt64? = nil,
        presencePenalty: Double? = nil, frequencyPenalty: Double? = nil
    ) {
        self.temperature = temperature
        self.topP = topP
        self.topK = topK
        self.minP = minP
        self.seed = seed
        self.presencePenalty = presencePenalty
        self.frequencyPenalty = frequencyPenalty
    }
}

/// What a client asks for, whatever its dialect: the one canonical request (design.md §1).
package struct ChatRequest: Sendable {
    /// Which conversation the request belongs to (design.md §3).
    package enum Continuation: Hashable, Sendable {
        /// Decided by the messages: the history in the request, or the caller's default conversation.
        case automatic
        /// The conversation that the client names.
        case conversation(ConversationID)
        /// The exchange that began with that turn, and what led there: nothing that was said beside or after it.
        case after(Dot)
        /// A conversation of its own, unless the request carries the history of one that is known.
        case new
        /// Nothing is recalled and nothing kept.
        case off
    }

    /// The name as the client wrote it.
    package var model: String
    /// At least one; the last is not the assistant's.
    package var messages: [Message]
    package var continuation: Continuation
    /// What is said is kept. Without it what was said before is recalled all the same, where `continuation` names it.
    package var keeps = true
    /// Where not all of the conversation fits into the model's context, it is refused rather than cut.
    package var mustFitWhole = false
    /// Holds for this answer only, before all other instructions; it is not kept.
    package var instructions: String?
    /// The last message is asked in any case, also where the same was asked before: it gets a turn of its own.
    package var asksAnew = false
    /// The answer is written to its end also without its client; the question is kept before the engine begins.
    package var runsInBackground = false
    /// The model goes on from exactly this text; `messages` is not read then, and nothing is kept.
    package var rawPrompt: String?
    /// The OpenAI `user` field: it tells apart the default conversations behind one key.
    package var user: String?
    /// Nil: as many as the window leaves.
    package var maximumTokens: Int?
    package var stop: [String]
    package var sampling: Sampling
    package var shape = AnswerShape()
    /// What the client's dialect wants back with the stored request, kept beside the question: JSON of the dialect's
    /// own, nil for nothing.
    package var annotation: JSON?
    /// How many answers; the first is the one that the conversation keeps.
    package var choices: Int
    /// How long the model shall stay loaded afterwards; nil: as it is set up.
    package var keepAlive: KeepAlive?
    package var priority = Ticket.Priority.normal
    /// How long it may wait for its turn; nil: as this host is set up.
    package var patience: Duration?
    /// Nobody reads the answer before its end (``GenerationRequest/isReadWhole``).
    package var isReadWhole = false
    /// The client's idempotency key, if it sent one.
    package var idempotencyKey: String?
    /// The client says that it sends this request again.
    package var isRetry: Bool

    package init(
        model: String, messages: [Message], continuation: Continuation = .automatic, user: String? = nil,
        maximumTokens: Int? = nil, stop: [String] = [], sampling: Sampling = Sampling(), choices: Int = 1,
        idempotencyKey: String? = nil, isRetry: Bool = false
    ) {
        self.model = model
        self.messages = messages
        self.continuation = continuation
        self.user = user
        self.maximumTokens = maximumTokens
        self.stop = stop
        self.sampling = sampling
        self.choices = choices
        self.idempotencyKey = idempotencyKey
        self.isRetry = isRetry
    }
}
