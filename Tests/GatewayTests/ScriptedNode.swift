import Core
import Node
import Synchronization

/// A node that answers as the test says.
final class ScriptedNode: NodeServices {
    typealias Script = @Sendable (ChatRequest, Owner) async throws -> ChatAnswer

    let id = NodeID(Bytes16(high: 0x0123_4567_89AB_CDEF, low: 0xFEDC_BA98_7654_3210))
    let version = "0.0.0-test"
    let script: Script
    let state: Mutex<Readiness>
    /// What the endpoints of stored answers find.
    let kept = Mutex<[Dot: KeptExchange]>([:])
    /// The models are on their way into memory.
    let loads = Mutex(false)

    init(readiness: Readiness = Readiness(isReady: true, reasons: []), script: @escaping Script) {
        self.script = script
        state = Mutex(readiness)
    }

    func answer(_ request: ChatRequest, caller: Owner) async throws -> ChatAnswer { try await script(request, caller) }

    func embed(_ texts: [String], model: String) async throws -> Embeddings {
        guard model == "igris-recall" else { throw RuntimeError(.modelNotFound, "no such model") }
        return Embeddings(vectors: texts.map { [Float($0.utf8.count), 0.5] }, promptTokens: texts.count)
    }

    func countTokens(_ request: ChatRequest, caller: Owner) async throws -> TokenCount {
        TokenCount(tokens: request.messages.reduce(0) { $0 + $1.promptBytes }, isExact: true)
    }

    func explainRoute(of model: String) async throws -> RouteReport {
        RouteReport(model: model, algorithm: "auto", node: id, reason: "only host", hosts: [])
    }

    func models() async -> [ModelStatus] {
        let description = EngineDescription(
            kind: "builtin", fingerprint: "recall-q8", contextLength: 512,
            tokenCost: TokenCost(perByte: 1, perMessage: 2, fixed: 1, isExact: true), samplingFields: ["temperature"])
        return [
            ModelStatus(
                name: "igris-recall", aliases: ["phi3"], engine: "builtin", state: .ready, description: description,
                file: ModelFile(
                    digest: String(repeating: "ab", count: 32), bytes: 950_000, architecture: "llama",
                    parameters: 917_504, quantization: "Q8_0", trainedContext: 2_048), waiting: 0, running: 1),
            ModelStatus(
                name: "vendor/big:4b", aliases: [], engine: "stdio",
                state: .quarantined(reason: "it crashed 3 times", retryAt: 1_700_000_000), description: nil, waiting: 2,
                running: 0),
        ]
    }

    func conversations(of caller: Owner, limit: Int) async throws -> [ConversationHeader] {
        caller == .local ? Array([header].prefix(limit)) : []
    }

    func conversation(_ id: ConversationID, of caller: Owner) async throws -> ConversationView {
        guard id == header.id, caller == header.owner else {
            throw RuntimeError(.notFound, "there is no such conversation")
        }
        let origin = Origin(node: self.id, epoch: 1)
        let usage = TokenUsage(promptTokens: 3, completionTokens: 1)
        return ConversationView(
            header: header,
            turns: [
                ConversationTurn(
                    dot: Dot(origin: origin, sequence: 1), timestamp: header.created,
                    turn: Turn(message: Message(.user, "hi"))),
                ConversationTurn(
                    dot: Dot(origin: origin, sequence: 2), timestamp: header.updated,
                    turn: Turn(
                        message: Message(.assistant, "hel"),
                        outcome: Turn.Outcome(finishReason: .aborted, usage: usage, model: "igris-recall"))),
            ], branches: 1, digest: "abcd")
    }

    func storeStatistics() async throws -> StoreStatistics {
        StoreStatistics(conversations: 1, operations: 2, bytes: 3)
    }

    func isLoading(_ model: String) async -> Bool { loads.withLock { $0 } }

    func readiness() async -> Readiness { state.withLock { $0 } }

    private var header: ConversationHeader {
        ConversationHeader(
            stream: StreamID(Bytes16(high: 1, low: 2)), id: ConversationID("talk") ?? unknownID, owner: .local,
            created: HybridTimestamp(milliseconds: 1_700_000_000_000),
            updated: HybridTimestamp(milliseconds: 1_700_000_005_000), turns: 2)
    }

    private var unknownID: ConversationID { preconditionFailure("the id is well-formed") }
}

extension ChatAnswer {
    /// An answer to one question of a fixed conversation.
    static func scripted(omitted: Int = 0, _ events: AsyncThrowingStream<ChatEvent, any Error>) -> ChatAnswer {
        ChatAnswer(
            conversation: ConversationID("conv-1"), created: 1_700_000_000, model: "igris-recall",
            fingerprint: "recall-q8", servedBy: NodeID(Bytes16(high: 0, low: 1)),
            context: ContextReport(promptTokens: 7, contextLength: 512, included: 3, omitted: omitted),
            events: EventStream(events),
            replicas: { 2 })
    }

    /// Everything at once, then `failure` where there is one.
    static func scripted(
        _ events: [ChatEvent], omitted: Int = 0, failure: (any Error)? = nil
    ) -> ChatAnswer {
        let (stream, continuation) = AsyncThrowingStream<ChatEvent, any Error>.makeStream()
        for event in events { continuation.yield(event) }
        continuation.finish(throwing: failure)
        return scripted(omitted: omitted, stream)
    }
}

extension [ChatEvent] {
    static let hello: [ChatEvent] = [
        .text(choice: 0, "Hel"), .text(choice: 0, "lo \"you\"\n"),
        .finished(choice: 0, reason: .stop, usage: TokenUsage(promptTokens: 7, completionTokens: 2, cachedTokens: 5)),
    ]
}

/// Returns when the task is cancelled.
func untilCancelled() async {
    let (nothing, source) = AsyncStream.makeStream(of: Never.self)
    for await _ in nothing {}
    source.finish()
}
