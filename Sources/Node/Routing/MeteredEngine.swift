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
        return GenerationStream { try await reader.next() }
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
    private final class Reader: Sendable {
        private struct Times {
            var hasBegun = false
            var begin = ContinuousClock.now
            var first: ContinuousClock.Instant?
            /// Nothing else had to be waited for.
            var isMeasured = false
        }

        private let engine: MeteredEngine
        private let stream: GenerationStream
        private let times = Mutex(Times())

        init(_ stream: GenerationStream, of engine: MeteredEngine) {
            self.stream = stream
            self.engine = engine
        }

        func next() async throws -> GenerationEvent? {
            if !times.withLock({ $0.hasBegun }) {
                let isReady = await engine.state() == .ready
                let waiting = await engine.load().waiting
                times.withLock { $0 = Times(hasBegun: true, isMeasured: isReady && waiting == 0) }
            }
            // All iterators of a stream go on where the last one stopped.
            var iterator = stream.makeAsyncIterator()
            let event = try await iterator.next(isolation: #isolation)
            times.withLock { times in
                let first = times.first ?? .now
                times.first = first
                guard case .finished(_, let usage) = event, times.isMeasured else { return }
                engine.meter.withLock {
                    $0.answered(usage, reading: first - times.begin, writing: .now - first)
                }
            }
            return event
        }
    }
}
