package import Core

/// What the roof sees of this host: one value, handed to every dialect.
package protocol NodeServices: Sendable {
    var id: NodeID { get }
    var version: String { get }

    /// Begins an answer (design.md §3). Returns once the engine has sent its first event, so that every earlier
    /// failure is still a plain error of the dialect.
    ///
    /// - Throws: ``RuntimeError``: `.modelNotFound`, `.invalidRequest`, `.contextLengthExceeded`, `.notFound`,
    ///   `.overloaded`, `.unavailable`, `.engineFailed`, `.timedOut`, `.system`.
    func answer(_ request: ChatRequest, caller: Owner) async throws -> ChatAnswer

    func models() async -> [ModelStatus]

    /// The caller's conversations, the latest first.
    func conversations(of caller: Owner, limit: Int) async throws -> [ConversationHeader]

    /// Throws ``RuntimeError`` `.notFound` also for a conversation of someone else.
    func conversation(_ id: ConversationID, of caller: Owner) async throws -> ConversationView

    func storeStatistics() async throws -> StoreStatistics

    func readiness() async -> Readiness
}
