package import Core
package import Swarm
internal import Synchronization

/// An engine whose pace is measured, for those who choose among hosts.
package final class MeteredEngine: InferenceEngine {
    private let engine: any InferenceEngine
    private let meter = Mutex(RateMeter())

    package init(_ engine: any InferenceEngine) { self.engine = engine }

    package var rates: RateMeter { meter.withLock { $0 } }

    package func generate(_ request: GenerationRequest) -> GenerationStream {
        let reader = Reader(engine.generate(request), of: self)
        return AsyncThrowingStream { try await reader.next() }
    }

    package func start() async { await engine.start() }
    package func describe() async throws -> EngineDescription { try await engine.describe() }
    package func state() async -> EngineState { await engine.state() }
    package func load() async -> (waiting: Int, running: Int) { await engine.load() }
    package func embed(_ texts: [String]) async throws -> Embeddings { try await engine.embed(texts) }
    package func memory() async -> Int? { await engine.memory() }
    package func stop() async { await engine.stop() }

    package func countTokens(of messages: [Message], shape: AnswerShape) async throws -> Int? {
        try await engine.countTokens(of: messages, shape: shape)
    }

    /// Passes the events of one answer on, and looks at the clock.
    private actor Reader {
        private let engine: MeteredEngine
        private let stream: GenerationStream
        private var events: GenerationStream.AsyncIterator?
        private var begin = ContinuousClock.now
        private var first: ContinuousClock.Instant?
        /// Nothing else had to be waited for.
        private var isMeasured = false

        init(_ stream: GenerationStream, of engine: MeteredEngine) {
            self.stream = stream
            self.engine = engine
        }

        func next() async throws -> GenerationEvent? {
            var iterator: GenerationStream.AsyncIterator
            if let events {
                iterator = events
            } else {
                iterator = stream.makeAsyncIterator()
                let isReady = await engine.state() == .ready
                let waiting = await engine.load().waiting
                isMeasured = isReady && waiting == 0
                begin = .now
            }
            let event = try await iterator.next(isolation: self)
            events = iterator
            if first == nil { first = .now }
            if case .finished(_, let usage) = event, isMeasured, let first {
                engine.meter.withLock { $0.answered(usage, reading: first - begin, writing: .now - first) }
            }
            return event
        }
    }
}
