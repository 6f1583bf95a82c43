import Core
import Node

/// Which models the present request may ask: those of its token; nil: all.
enum ModelScope {
    @TaskLocal static var models: Set<String>?

    static func allows(_ names: [String]) -> Bool { models.map { !$0.isDisjoint(with: names) } ?? true }
}

/// The node as a request may use it: a model that its token does not name cannot be asked, loaded or listed, and whether
/// there is one of that name is not told. Stands in front of the node for every dialect, so that none can forget it.
struct ModelGate: NodeServices {
    let node: any NodeServices

    /// Throws ``RuntimeError`` `.forbidden`.
    func require(_ model: String) async throws {
        guard let allowed = ModelScope.models, !allowed.contains(model) else { return }
        // A model may be asked by any of its names, whichever of them the token has.
        let names = await node.models().map { [$0.name] + $0.aliases }.first { $0.contains(model) }
        guard let names, ModelScope.allows(names) else {
            throw RuntimeError(
                .forbidden, "this token may not ask that model; GET /v1/models lists those that it may",
                parameter: "model")
        }
    }

    var id: NodeID { node.id }
    var version: String { node.version }
    var pressure: Pressure? { node.pressure }

    func answer(_ request: ChatRequest, caller: Owner) async throws -> ChatAnswer {
        try await require(request.model)
        return try await node.answer(request, caller: caller)
    }

    func models() async -> [ModelStatus] {
        await node.models().filter { ModelScope.allows([$0.name] + $0.aliases) }
    }

    func explainRoute(of model: String) async throws -> RouteReport {
        try await require(model)
        return try await node.explainRoute(of: model)
    }

    func measureModels() async { await node.measureModels() }

    func prepare(_ model: String, keepAlive: KeepAlive?, patience: Duration?) async throws {
        try await require(model)
        try await node.prepare(model, keepAlive: keepAlive, patience: patience)
    }

    func isLoading(_ model: String) async -> Bool { await node.isLoading(model) }

    func embed(_ texts: [String], model: String) async throws -> Embeddings {
        try await require(model)
        return try await node.embed(texts, model: model)
    }

    func countTokens(_ request: ChatRequest, caller: Owner) async throws -> TokenCount {
        try await require(request.model)
        return try await node.countTokens(request, caller: caller)
    }

    // MARK: What names no model

    func conversations(of caller: Owner, limit: Int) async throws -> [ConversationHeader] {
        try await node.conversations(of: caller, limit: limit)
    }
    func conversation(_ id: ConversationID, of caller: Owner) async throws -> ConversationView {
        try await node.conversation(id, of: caller)
    }
    func drain(on: Bool?) async -> DrainReport { await node.drain(on: on) }
    func storeStatistics() async throws -> StoreStatistics { try await node.storeStatistics() }
    func readiness() async -> Readiness { await node.readiness() }
    func exchange(_ question: Dot, of caller: Owner) async throws -> KeptExchange {
        try await node.exchange(question, of: caller)
    }
    func path(to question: Dot, of caller: Owner) async throws -> [ConversationTurn] {
        try await node.path(to: question, of: caller)
    }
    func exchanges(of caller: Owner, where isWanted: @Sendable (JSON) -> Bool) async throws -> [KeptExchange] {
        try await node.exchanges(of: caller, where: isWanted)
    }
    func deleteExchange(_ question: Dot, turns: Int, of caller: Owner) async throws {
        try await node.deleteExchange(question, turns: turns, of: caller)
    }
    func cancelAnswer(to question: Dot, of caller: Owner) async throws -> Bool {
        try await node.cancelAnswer(to: question, of: caller)
    }
    func answerInBackground(to question: Dot, of caller: Owner) async throws -> ChatAnswer? {
        try await node.answerInBackground(to: question, of: caller)
    }
    func stream(of question: Dot, for caller: Owner) async throws -> ChatAnswer {
        try await node.stream(of: question, for: caller)
    }
    func annotate(_ question: Dot, _ annotation: JSON, of caller: Owner) async throws {
        try await node.annotate(question, annotation, of: caller)
    }
    func describe(_ id: ConversationID, metadata: JSON, of caller: Owner) async throws -> ConversationRecord {
        try await node.describe(id, metadata: metadata, of: caller)
    }
    func record(of id: ConversationID, of caller: Owner) async throws -> ConversationRecord {
        try await node.record(of: id, of: caller)
    }
    func exchanges(in id: ConversationID, of caller: Owner) async throws -> [KeptExchange] {
        try await node.exchanges(in: id, of: caller)
    }
    func append(_ messages: [Message], to id: ConversationID, of caller: Owner) async throws -> [ConversationTurn] {
        try await node.append(messages, to: id, of: caller)
    }
    func deleteTurn(_ turn: Dot, of id: ConversationID, of caller: Owner) async throws {
        try await node.deleteTurn(turn, of: id, of: caller)
    }
    func deleteConversation(_ id: ConversationID, of caller: Owner) async throws {
        try await node.deleteConversation(id, of: caller)
    }
}
