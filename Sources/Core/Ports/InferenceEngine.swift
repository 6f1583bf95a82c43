/// What an engine is asked to write: the whole prompt as messages, and the bounds of the answer.
package struct GenerationRequest: Sendable {
    package var messages: [Message]
    /// At most this many tokens are written; at least 1.
    package var maximumTokens: Int
    package var stop: [String]
    package var sampling: Sampling

    package init(messages: [Message], maximumTokens: Int, stop: [String] = [], sampling: Sampling = Sampling()) {
        self.messages = messages
        self.maximumTokens = maximumTokens
        self.stop = stop
        self.sampling = sampling
    }
}

/// What an engine reports while it writes: any number of `text`, then one `finished`.
package enum GenerationEvent: Hashable, Sendable {
    /// The next piece of the answer: whole characters, without the stop string, never empty.
    case text(String)
    /// The answer is complete. `reason` is `.stop` or `.length`.
    case finished(reason: FinishReason, usage: TokenUsage)
}

/// The events of one answer. Ending the iteration, or cancelling its task, stops the engine's work on it.
/// The buffer is bounded by ``Limits/streamBufferBytes``: an engine that runs that far ahead of its reader waits.
package typealias GenerationStream = AsyncThrowingStream<GenerationEvent, any Error>

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
        perMessage + Int((perByte * Double(message.text.utf8.count)).rounded(.up))
    }

    /// The tokens of a whole prompt.
    package func tokens(of messages: [Message]) -> Int {
        messages.reduce(fixed) { $0 + tokens(of: $1) }
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

    package init(
        kind: String, fingerprint: String, contextLength: Int, tokenCost: TokenCost, samplingFields: Set<String>
    ) {
        self.kind = kind
        self.fingerprint = fingerprint
        self.contextLength = contextLength
        self.tokenCost = tokenCost
        self.samplingFields = samplingFields
    }
}

/// How an engine is at present.
package enum EngineState: Hashable, Sendable {
    case starting
    case ready
    /// The child ended; it is started again after a delay.
    case restarting(reason: String)
    /// It crashed too often; it is left alone until `retryAt` seconds since 1970.
    case quarantined(reason: String, retryAt: Int64)
    case stopped

    /// The word that `/v1/models` and `status` show.
    package var word: String {
        switch self {
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
    /// Ends the children; running answers fail.
    func stop() async
}
