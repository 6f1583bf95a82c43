/// What an engine is asked to write: the whole prompt as messages, and the bounds of the answer.
package struct GenerationRequest: Hashable, Sendable {
    package var messages: [Message]
    /// At most this many tokens are written, those of `partial` included; at least 1.
    package var maximumTokens: Int
    package var stop: [String]
    package var sampling: Sampling
    package var shape: AnswerShape
    /// The model goes on from exactly this text, without any chat template; `messages` is empty then. Only where the
    /// engine has ``EngineCapability/rawPrompt``.
    package var rawPrompt: String?
    /// How the answer begins, as another engine, or this one before it failed, has written it: the engine goes on right
    /// behind it and gives out what follows alone. Its tokens count as written. Only where the engine has
    /// ``EngineCapability/partial``.
    package var partial: String?
    /// Which conversation it is, for an engine that keeps what it has read of one: a hint, the same for every turn.
    package var affinity: Bytes16?
    /// How long the model shall stay loaded after this answer; nil: as it is set up.
    package var keepAlive: KeepAlive?
    /// By what it waits where the model has too much to do.
    package var ticket = Ticket()
    /// Nobody reads the answer before its end: an engine to which that is less work may give it out at once then.
    package var isReadWhole = false

    package init(
        messages: [Message], maximumTokens: Int, stop: [String] = [], sampling: Sampling = Sampling(),
        shape: AnswerShape = AnswerShape(), rawPrompt: String? = nil, affinity: Bytes16? = nil
    ) {
        self.messages = messages
        self.maximumTokens = maximumTokens
        self.stop = stop
        self.sampling = sampling
        self.shape = shape
        self.rawPrompt = rawPrompt
        self.affinity = affinity
    }
}

/// What an engine reports while it writes: pieces in the order of the answer, then one `finished`.
package enum GenerationEvent: Hashable, Sendable {
    /// The next piece of the answer: whole characters, without the stop string, never empty.
    case text(String)
    /// The next piece of what the model thinks before it answers.
    case reasoning(String)
    case toolCall(ToolCallPiece)
    /// Of the tokens behind the next piece of text.
    case logprobs([TokenProbability])
    /// What follows is written elsewhere, or by an engine that was started again. No engine says so itself.
    case moved(Failover)
    /// The answer is complete. `reason` is `.stop`, `.length` or `.toolCalls`.
    case finished(reason: FinishReason, usage: TokenUsage)
}

/// The events of one answer. Ending the iteration, or cancelling its task, stops the engine's work on it.
/// The buffer is bounded by ``Limits/streamBufferBytes``: an engine that runs that far ahead of its reader waits.
package typealias GenerationStream = EventStream<GenerationEvent>

/// What it takes to know a prompt's size before the engine sees it.
/// tokens = fixed + Σ over messages (perMessage + perByte × bytes of the text), rounded up.
package struct TokenCost: Hashable, Sendable {
    package var perByte: Double
    package var perMessage: Int
    package var fixed: Int
    /// True where the engine's tokenizer makes this exact.
    package var isExact: Bool

    package init(perByte: Double, perMessage: Int, fixed: Int, isExact: Bool) {
        self.perByte = perByte
        self.perMessage = perMessage
        self.fixed = fixed
        self.isExact = isExact
    }

    /// The tokens of one message within a prompt.
    package func tokens(of message: Message) -> Int {
        perMessage + tokens(ofBytes: message.promptBytes)
    }

    /// The tokens of so much text.
    package func tokens(ofBytes count: Int) -> Int { Int((perByte * Double(count)).rounded(.up)) }

    /// The tokens of a whole prompt.
    package func tokens(of messages: [Message]) -> Int {
        messages.reduce(fixed) { $0 + tokens(of: $1) }
    }
}

/// What an engine may be able to do beyond writing text in answer to messages.
package enum EngineCapability: String, Hashable, Sendable, CaseIterable {
    /// Calls tools, and reads what they gave back.
    case tools
    case jsonObject = "json_object"
    case jsonSchema = "json_schema"
    case logprobs
    case logitBias = "logit_bias"
    case embeddings
    case rawPrompt = "raw_prompt"
    /// Goes on behind the beginning of an answer: ``GenerationRequest/partial``.
    case partial
    /// ``InferenceEngine/countTokens(of:shape:)`` is exact.
    case tokenCounts = "token_counts"
}

/// Vectors for texts, in their order.
package struct Embeddings: Hashable, Sendable {
    package var vectors: [[Float]]
    package var promptTokens: Int

    package init(vectors: [[Float]], promptTokens: Int) {
        self.vectors = vectors
        self.promptTokens = promptTokens
    }
}

/// What an engine can do, known once it has started.
package struct EngineDescription: Hashable, Sendable {
    /// The kind as the configuration names it: `builtin`, `stdio`.
    package var kind: String
    /// Which program and file answer, for `system_fingerprint`: no path.
    package var fingerprint: String
    /// Tokens of prompt and answer together.
    package var contextLength: Int
    package var tokenCost: TokenCost
    /// Names of the sampling fields that the engine honours: `temperature`, `top_p`, `top_k`, `min_p`, `seed`,
    /// `presence_penalty`, `frequency_penalty`. A request that sets another one is refused.
    package var samplingFields: Set<String>
    /// A request that needs another one is refused by the field's name.
    package var capabilities: Set<EngineCapability>
    /// Answers that it writes at once; at least 1.
    package var slots: Int
    /// The names of other hosts that compute a part of the model.
    package var workers: [String] = []

    package init(
        kind: String, fingerprint: String, contextLength: Int, tokenCost: TokenCost, samplingFields: Set<String>,
        capabilities: Set<EngineCapability> = [], slots: Int = 1
    ) {
        self.kind = kind
        self.fingerprint = fingerprint
        self.contextLength = contextLength
        self.tokenCost = tokenCost
        self.samplingFields = samplingFields
        self.capabilities = capabilities
        self.slots = max(1, slots)
    }
}

/// How an engine is at present.
package enum EngineState: Hashable, Sendable {
    /// Nothing of it is in memory; the next request loads it.
    case unloaded
    case loading
    case starting
    case ready
    /// The child ended; it is started again after a delay.
    case restarting(reason: String)
    /// It failed too often; it is left alone until `retryAt` seconds since 1970.
    case quarantined(reason: String, retryAt: Int64)
    case stopped

    /// The word that `/v1/models` and `status` show.
    package var word: String {
        switch self {
        case .unloaded: "unloaded"
        case .loading: "loading"
        case .starting: "starting"
        case .ready: "ready"
        case .restarting: "restarting"
        case .quarantined: "quarantined"
        case .stopped: "stopped"
        }
    }
}

/// A program that answers for one model. Implementations supervise their children themselves.
package protocol InferenceEngine: Sendable {
    /// Starts what must run beforehand; returns at once where nothing must. Never throws: the state tells.
    func start() async
    /// Waits for the engine to be known. Throws ``RuntimeError`` `.unavailable` with the reason when it cannot.
    func describe() async throws -> EngineDescription
    func state() async -> EngineState
    /// Requests waiting and running.
    func load() async -> (waiting: Int, running: Int)
    /// Begins an answer. The stream throws ``RuntimeError``: `.unavailable`, `.overloaded`, `.engineFailed`,
    /// `.timedOut`, `.contextLengthExceeded`, `.invalidRequest`.
    func generate(_ request: GenerationRequest) -> GenerationStream
    /// One vector for each text. Throws ``RuntimeError`` as ``generate(_:)`` does; `.invalidRequest` where the engine
    /// makes none.
    func embed(_ texts: [String]) async throws -> Embeddings
    /// The tokens of a prompt by the engine's own tokenizer and template; nil where only ``TokenCost`` is known.
    func countTokens(of messages: [Message], shape: AnswerShape) async throws -> Int?
    /// Bytes of memory that its children take at present; nil where it has none, or the system does not tell.
    func memory() async -> Int?
    /// Ends the children; running answers fail.
    func stop() async
}

extension InferenceEngine {
    package func embed(_ texts: [String]) async throws -> Embeddings {
        let kind = try await describe().kind
        throw RuntimeError(
            .invalidRequest, "this model's engine (\(kind)) makes no embeddings; name a model of an engine that does",
            parameter: "model")
    }

    package func countTokens(of messages: [Message], shape: AnswerShape) async throws -> Int? { nil }

    package func memory() async -> Int? { nil }
}
