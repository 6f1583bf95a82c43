import Core
import Synchronization
import Testing

@testable import Engine

@Suite("The mailbox of an answer")
struct AnswerMailboxTests {
    @Test("joins what waits, and ends once")
    func joining() async throws {
        let mailbox = AnswerMailbox {}
        let stream = mailbox.stream()
        #expect(mailbox.put("a") == 1)
        #expect(mailbox.put("bü") == 4)
        mailbox.finish(.success(.finished(reason: .stop, usage: TokenUsage(promptTokens: 1, completionTokens: 2))))
        mailbox.fail(RuntimeError(.internal, "too late"))
        var events: [GenerationEvent] = []
        for try await event in stream { events.append(event) }
        #expect(
            events == [
                .text("abü"), .finished(reason: .stop, usage: TokenUsage(promptTokens: 1, completionTokens: 2)),
            ])
    }

    @Test("gives what was written before an error first")
    func errorAfterText() async {
        let mailbox = AnswerMailbox {}
        let stream = mailbox.stream()
        mailbox.put("half")
        mailbox.fail(RuntimeError(.engineFailed, "gone"))
        var text = ""
        let error = await thrownError {
            for try await event in stream {
                if case .text(let piece) = event { text += piece }
            }
        }
        #expect(text == "half")
        #expect(error?.code == .engineFailed)
    }

    @Test("tells once that its reader has gone")
    func abandonment() async throws {
        let count = Counter()
        do {
            let mailbox = AnswerMailbox { count.add() }
            var stream: GenerationStream? = mailbox.stream()
            mailbox.put("x")
            stream = nil
            _ = stream
            #expect(count.value == 1)
            #expect(mailbox.put("y") == 0)
            await mailbox.waitForRoom()
        }
        #expect(count.value == 1)
    }

    @Test("does not complain about a reader that goes after the end")
    func endThenGone() async throws {
        let count = Counter()
        let mailbox = AnswerMailbox { count.add() }
        var stream: GenerationStream? = mailbox.stream()
        mailbox.finish(.success(.finished(reason: .stop, usage: TokenUsage(promptTokens: 0, completionTokens: 0))))
        stream = nil
        _ = stream
        #expect(count.value == 0)
    }

    @Test("lets its writer wait until the reader has made room")
    func room() async throws {
        let mailbox = AnswerMailbox(unreadLimit: 3) {}
        let stream = mailbox.stream()
        mailbox.put("long text")
        async let waited: Void = mailbox.waitForRoom()
        var iterator = stream.makeAsyncIterator()
        #expect(try await iterator.next() == .text("long text"))
        await waited
    }
}

private final class Counter: Sendable {
    private let count = Mutex(0)
    func add() { count.withLock { $0 += 1 } }
    var value: Int { count.withLock { $0 } }
}
