package import Core

/// What the roof sees of this host: one value, handed to every dialect.
package protocol NodeServices: ConversationServices {
    var id: NodeID { get }
    var version: String { get }
    /// Refuses new work while there is no room for it; nil where nothing is looked at.
    var pressure: Pressure? { get }

    /// Begins an answer (design.md §3). Returns once the engine has sent its first event, so that every earlier
    /// failure is still a plain error of the dialect.
    ///
    /// - Throws: ``RuntimeError``: `.modelNotFound`, `.invalidRequest`, `.contextLengthExceeded`, `.notFound`,
    ///   `.overloaded`, `.unavailable`, `.engineFailed`, `.timedOut`, `.system`.
    func answer(_ request: ChatRequest, caller: Owner) async throws -> ChatAnswer

    func models() async -> [ModelStatus]

    /// Where a request for a model would go now, and why. Throws ``RuntimeError`` `.modelNotFound`.
    func explainRoute(of model: String) async throws -> RouteReport

    /// Looks at what the models take, for the next ``models()``.
    func measureModels() async

    /// Loads a model of this host and lets it stay for `keepAlive`; with ``KeepAlive/unloaded`` it goes as soon as
    /// nobody uses it. Throws ``RuntimeError`` `.unavailable` with the reason where it cannot be loaded, or is not
    /// within `patience`; the load goes on then.
    func prepare(_ model: String, keepAlive: KeepAlive?, patience: Duration?) async throws

    /// Whether requests for a model of this host wait for its load.
    func isLoading(_ model: String) async -> Bool

    /// One vector for each text. Throws ``RuntimeError`` `.modelNotFound`, `.invalidRequest` where the model's engine
    /// makes none, and what ``InferenceEngine/embed(_:)`` throws.
    func embed(_ texts: [String], model: String) async throws -> Embeddings

    /// The tokens of the prompt that a request would make, whatever its length. Nothing is kept.
    func countTokens(_ request: ChatRequest, caller: Owner) async throws -> TokenCount

    /// The caller's conversations, the latest first.
    func conversations(of caller: Owner, limit: Int) async throws -> [ConversationHeader]

    /// Throws ``RuntimeError`` `.notFound` also for a conversation of someone else.
    func conversation(_ id: ConversationID, of caller: Owner) async throws -> ConversationView

    /// Begins, or ends, giving this host's work away; nil only tells how far it is.
    func drain(on: Bool?) async -> DrainReport

    func storeStatistics() async throws -> StoreStatistics

    func readiness() async -> Readiness
}

extension NodeServices {
    package var pressure: Pressure? { nil }
    // A node whose engines all run has nothing to do for these.
    package func measureModels() async {}
    package func prepare(_ model: String, keepAlive: KeepAlive?, patience: Duration?) async throws {}
    package func isLoading(_ model: String) async -> Bool { false }
    package func drain(on: Bool?) async -> DrainReport { DrainReport(isOn: false, running: 0, waiting: 0) }
}

/// How long a prompt is.
package struct TokenCount: Hashable, Sendable {
    package var tokens: Int
    /// False for an estimate.
    package var isExact: Bool

    package init(tokens: Int, isExact: Bool) {
        self.tokens = tokens
        self.isExact = isExact
    }
}
