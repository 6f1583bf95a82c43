public import Synchronization

/// Events that are pulled one by one, by one reader: as `AsyncThrowingStream(unfolding:)`, but a pull costs no change of
/// executor. An answer's events pass through several of these on their way to the client.
///
/// Iterators share the stream's place. After the last event, an error, or a pull by a cancelled task, the stream is over
/// for all of them, and what it holds is let go of.
@usableFromInline
package struct EventStream<Event: Sendable>: AsyncSequence, Sendable {
    @usableFromInline
    package typealias Element = Event
    @usableFromInline
    package typealias Failure = any Error
    /// The next event; nil after the last.
    @usableFromInline
    package typealias Pull = @Sendable () async throws -> Event?

    @usableFromInline
    final class Source: Sendable {
        @usableFromInline let pull: Mutex<Pull?>

        @inlinable
        init(_ pull: @escaping Pull) { self.pull = Mutex(pull) }

        @inlinable
        deinit {}
    }

    @usableFromInline let source: Source

    @inlinable
    package init(_ pull: @escaping Pull) { source = Source(pull) }

    /// What `stream` holds already, or is told meanwhile.
    package init(_ stream: AsyncThrowingStream<Event, any Error>) {
        self.init {
            // All iterators of a stream go on where the last one stopped.
            var iterator = stream.makeAsyncIterator()
            return try await iterator.next(isolation: #isolation)
        }
    }

    /// These, then `error` or the end.
    package init(_ events: [Event], throwing error: (any Error)? = nil) {
        self.init(
            AsyncThrowingStream { continuation in
                for event in events { continuation.yield(event) }
                continuation.finish(throwing: error)
            })
    }

    @inlinable
    package func makeAsyncIterator() -> Iterator { Iterator(source) }

    @usableFromInline
    package struct Iterator: AsyncIteratorProtocol {
        @usableFromInline let source: Source

        @inlinable
        init(_ source: Source) { self.source = source }

        @inlinable
        package mutating func next() async throws -> Event? { try await next(isolation: #isolation) }

        @inlinable
        package mutating func next(isolation actor: isolated (any Actor)?) async throws -> Event? {
            guard let pull = source.pull.withLock({ $0 }), !Task.isCancelled else { return end() }
            do {
                return try await pull() ?? end()
            } catch {
                _ = end()
                throw error
            }
        }

        @inlinable
        func end() -> Event? {
            // Let go of outside the lock: what it holds may have a say when it goes.
            _ = source.pull.withLock { $0.take() }
            return nil
        }
    }
}
