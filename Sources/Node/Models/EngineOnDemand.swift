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
        let answer = BorrowedAnswer(request, place, loaded)
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

/// One answer of a model that stays loaded until its end, whichever way it ends.
private actor BorrowedAnswer {
    private let request: GenerationRequest
    private let place: ModelShelf.Place
    private let loaded: LoadedModels
    private var events: GenerationStream.AsyncIterator?
    private var isHeld = false
    private var isOver = false

    init(_ request: GenerationRequest, _ place: ModelShelf.Place, _ loaded: LoadedModels) {
        self.request = request
        self.place = place
        self.loaded = loaded
    }

    func next() async throws -> GenerationEvent? {
        guard !isOver else { return nil }
        do {
            var iterator: GenerationStream.AsyncIterator
            if let events {
                iterator = events
            } else {
                let engine = try await loaded.acquire(place)
                isHeld = true
                iterator = engine.generate(request).makeAsyncIterator()
            }
            let event = try await iterator.next(isolation: self)
            events = iterator
            if event == nil { await end() }
            return event
        } catch {
            await end()
            throw error
        }
    }

    private func end() async {
        isOver = true
        events = nil
        guard isHeld else { return }
        isHeld = false
        await loaded.release(place, keepAlive: request.keepAlive)
    }

    deinit {
        // Its reader let go of it in the middle.
        guard isHeld else { return }
        Task { [loaded, place, keepAlive = request.keepAlive] in await loaded.release(place, keepAlive: keepAlive) }
    }
}
