import Core
import Synchronization

/// An engine that writes what it is told to, answer after answer.
final class ScriptedEngine: InferenceEngine {
    enum Step: Sendable {
        case text(String)
        case call(ToolCallPiece)
        case finish(FinishReason = .stop)
        case fail(RuntimeError)
        /// The answer goes on when the gate opens.
        case wait(Gate)
        /// The answer goes on no more; it ends when it is stopped.
        case hang
    }

    private struct State {
        var scripts: [[Step]] = []
        var requests: [GenerationRequest] = []
        var answers = 0
        var engineState = EngineState.ready
    }

    private let state = Mutex(State())
    let description: EngineDescription
    /// Opens when an answer was stopped before its end.
    let stopped = Gate()

    init(
        contextLength: Int = 4_096, samplingFields: Set<String> = ["temperature", "seed"],
        cost: TokenCost = TokenCost(perByte: 1, perMessage: 4, fixed: 2, isExact: true),
        capabilities: Set<EngineCapability> = [], slots: Int = 64
    ) {
        description = EngineDescription(
            kind: "scripted", fingerprint: "scripted-1", contextLength: contextLength, tokenCost: cost,
            samplingFields: samplingFields, capabilities: capabilities, slots: slots)
    }

    /// The next answer; after the last one it answers `answer N`.
    func will(_ steps: Step...) { state.withLock { $0.scripts.append(steps) } }
    func become(_ engineState: EngineState) { state.withLock { $0.engineState = engineState } }

    var requests: [GenerationRequest] { state.withLock { $0.requests } }
    /// The texts of the last prompt.
    var prompt: [String] { requests.last?.messages.map(\.text) ?? [] }

    func start() async {}
    func stop() async {}
    func describe() async throws -> EngineDescription { description }
    func state() async -> EngineState { state.withLock { $0.engineState } }
    func load() async -> (waiting: Int, running: Int) { (0, 0) }

    func generate(_ request: GenerationRequest) -> GenerationStream {
        let steps = state.withLock { state -> [Step] in
            state.requests.append(request)
            state.answers += 1
            return state.scripts.isEmpty ? [.text("answer \(state.answers)"), .finish()] : state.scripts.removeFirst()
        }
        return GenerationStream(
            AsyncThrowingStream { continuation in
                let writer = Task {
                    for step in steps {
                        switch step {
                        case .text(let text): continuation.yield(.text(text))
                        case .call(let piece): continuation.yield(.toolCall(piece))
                        case .finish(let reason):
                            continuation.yield(
                                .finished(reason: reason, usage: TokenUsage(promptTokens: 5, completionTokens: 3)))
                        case .fail(let error): continuation.finish(throwing: error)
                        case .wait(let gate): await gate.wait()
                        case .hang:
                            for await _ in AsyncStream<Never>.makeStream().stream {}
                        }
                    }
                    continuation.finish()
                }
                continuation.onTermination = { [stopped] reason in
                    if case .cancelled = reason { stopped.open() }
                    writer.cancel()
                }
            })
    }
}
