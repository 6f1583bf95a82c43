import Synchronization
import Testing

@testable import Gateway

@Suite struct LatchTests {
    @Test func `Work that ends first gives what it has`() async throws {
        let latch = Latch()
        #expect(try await latch.whileClosed { 7 } == 7)
        #expect(!latch.isOpen)
    }

    @Test func `What happens cancels the work, and its end is waited for`() async {
        let latch = Latch()
        let hasEnded = Atomic(false)
        await #expect(throws: CancellationError.self) {
            try await latch.whileClosed {
                latch.open()
                // Nothing else ends this.
                for await _ in AsyncStream<Never>.makeStream().stream {}
                hasEnded.store(true, ordering: .relaxed)
            }
        }
        let ended = hasEnded.load(ordering: .relaxed)
        #expect(ended)
    }

    @Test func `Work that is begun afterwards is cancelled from the start`() async {
        let latch = Latch()
        latch.open()
        let wasCancelled = Atomic(false)
        await #expect(throws: CancellationError.self) {
            try await latch.whileClosed {
                for await _ in AsyncStream<Never>.makeStream().stream {}
                wasCancelled.store(Task.isCancelled, ordering: .relaxed)
            }
        }
        let cancelled = wasCancelled.load(ordering: .relaxed)
        #expect(cancelled)
    }

    @Test func `The work is cancelled with the task that waits for it`() async {
        let latch = Latch()
        let begun = Latch()
        let task = Task {
            try await latch.whileClosed {
                begun.open()
                for await _ in AsyncStream<Never>.makeStream().stream {}
                try Task.checkCancellation()
            }
        }
        await begun.opened()
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
        #expect(!latch.isOpen)
    }

    @Test func `What the work throws is thrown`() async {
        struct Trouble: Error {}
        await #expect(throws: Trouble.self) { try await Latch().whileClosed { throw Trouble() } }
    }
}
