import Core

/// A model of the shelf as an engine like any other: whatever is asked of it loads the real one first.
struct EngineOnDemand: InferenceEngine {
    let place: ModelShelf.Place
    let loaded: LoadedModels

    func start() async {}

    /// What an earlier load told still holds: the model is not loaded for this.
    func describe() async throws -> EngineDescription {
        if let known = await loaded.description(of: place) { return known }
        return try await using { try await $0.describe() }
    }

    func state() async -> EngineState { await loaded.state(of: place) }

    func load() async -> (waiting: Int, running: Int) { await loaded.load(of: place) }

    func generate(_ request: GenerationRequest) -> GenerationStream {
        // It stays loaded until the answer's end.
        let answer = HeldAnswer(request) { [place, loaded] in
            HeldAnswer.Hold(engine: try await loaded.acquire(place)) {
                await loaded.release(place, keepAlive: request.keepAlive)
            }
        }
        return GenerationStream { try await answer.next() }
    }

    func embed(_ texts: [String]) async throws -> Embeddings { try await using { try await $0.embed(texts) } }

    func countTokens(of messages: [Message], shape: AnswerShape) async throws -> Int? {
        try await using { try await $0.countTokens(of: messages, shape: shape) }
    }

    func memory() async -> Int? { await loaded.memory(of: place).bytes }

    /// The shelf ends all engines at once.
    func stop() async {}

    private func using<Value: Sendable>(
        _ work: (any InferenceEngine) async throws -> Value
    ) async throws -> Value {
        let engine = try await loaded.acquire(place)
        do {
            let value = try await work(engine)
            await loaded.release(place, keepAlive: nil)
            return value
        } catch {
            await loaded.release(place, keepAlive: nil)
            throw error
        }
    }
}
