import Core
import Synchronization
import Testing

@Suite struct EventStreamTests {
    private final class Held: Sendable {}

    private struct Trouble: Error {}

    private static func counting(to last: Int) -> EventStream<Int> {
        let count = Mutex(0)
        return EventStream {
            count.withLock { count in
                count += 1
                return count <= last ? count : nil
            }
        }
    }

    @Test func `Iterators share the place, and the end`() async throws {
        let stream = Self.counting(to: 3)
        var one = stream.makeAsyncIterator()
        var other = stream.makeAsyncIterator()
        #expect(try await one.next() == 1)
        #expect(try await other.next() == 2)
        #expect(try await one.next() == 3)
        #expect(try await other.next() == nil)
        #expect(try await one.next() == nil)
    }

    @Test func `After an error it is over`() async throws {
        let stream = EventStream([1], throwing: Trouble())
        var iterator = stream.makeAsyncIterator()
        #expect(try await iterator.next() == 1)
        await #expect(throws: Trouble.self) { try await iterator.next() }
        #expect(try await iterator.next() == nil)
    }

    @Test func `A cancelled task gets nothing, and ends it`() async throws {
        let stream = Self.counting(to: 3)
        let task = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            var iterator = stream.makeAsyncIterator()
            return try await iterator.next()
        }
        #expect(try await task.value == nil)
        var iterator = stream.makeAsyncIterator()
        #expect(try await iterator.next() == nil)
    }

    @Test func `At its end it lets go of what it holds, though it is still held itself`() async throws {
        weak var watched: Held?
        let stream: EventStream<Int>
        do {
            let held = Held()
            watched = held
            stream = EventStream {
                _ = held
                return nil
            }
        }
        #expect(watched != nil)
        for try await _ in stream {}
        #expect(watched == nil)
    }
}
