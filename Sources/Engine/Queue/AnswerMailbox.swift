import Core
import Synchronization

/// Where an engine puts an answer and one reader takes it: text that waits is joined, its size is known to the engine,
/// and a reader that goes away is noticed at once.
final class AnswerMailbox: Sendable {
    private struct State {
        var unread = ""
        /// The last event, or why there is none.
        var end: Result<GenerationEvent, any Error>?
        var isEndTaken = false
        var isAbandoned = false
        var reader: CheckedContinuation<GenerationEvent?, any Error>?
        /// The engine, waiting for the reader to catch up.
        var writer: CheckedContinuation<Void, Never>?
    }

    private let unreadLimit: Int
    private let onAbandon: @Sendable () -> Void
    private let state = Mutex(State())

    /// `onAbandon` is called at most once, when the reader goes away before the end.
    init(unreadLimit: Int = Limits.streamBufferBytes, onAbandon: @escaping @Sendable () -> Void) {
        self.unreadLimit = unreadLimit
        self.onAbandon = onAbandon
    }

    // MARK: The engine's side

    /// Adds text, never waits. Returns how many bytes are unread now.
    @discardableResult
    func put(_ text: String) -> Int {
        guard !text.isEmpty else { return unreadBytes }
        let (reader, unread) = state.withLock { state -> (CheckedContinuation<GenerationEvent?, any Error>?, Int) in
            guard state.end == nil, !state.isAbandoned else { return (nil, 0) }
            if let reader = state.reader.take() { return (reader, 0) }
            state.unread += text
            return (nil, state.unread.utf8.count)
        }
        reader?.resume(returning: .text(text))
        return unread
    }

    /// Ends the answer, once; later calls do nothing.
    func finish(_ end: Result<GenerationEvent, any Error>) {
        let (reader, writer) = state.withLock { state in
            guard state.end == nil else {
                return (CheckedContinuation<GenerationEvent?, any Error>?.none, CheckedContinuation<Void, Never>?.none)
            }
            state.end = end
            let reader = state.reader.take()
            if reader != nil { state.isEndTaken = true }
            return (reader, state.writer.take())
        }
        reader?.resume(with: end.map { $0 })
        writer?.resume()
    }

    func fail(_ error: any Error) { finish(.failure(error)) }

    var unreadBytes: Int { state.withLock { $0.unread.utf8.count } }

    /// Waits until less than the limit is unread, the reader is gone, or the answer has ended.
    func waitForRoom() async {
        await withCheckedContinuation { continuation in
            let hasRoom = state.withLock { state in
                if state.unread.utf8.count <= unreadLimit || state.isAbandoned || state.end != nil { return true }
                state.writer = continuation
                return false
            }
            if hasRoom { continuation.resume() }
        }
    }

    // MARK: The reader's side

    /// The answer as a stream; to be called once. Dropping the stream abandons the answer.
    func stream() -> GenerationStream {
        let reader = Reader(self)
        return GenerationStream { try await reader.mailbox.next() }
    }

    /// Held by the stream alone: its end is the reader's.
    private final class Reader: Sendable {
        let mailbox: AnswerMailbox
        init(_ mailbox: AnswerMailbox) { self.mailbox = mailbox }
        deinit { mailbox.abandon() }
    }

    private func next() async throws -> GenerationEvent? {
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let (now, writer) = state.withLock { state in take(continuation, from: &state) }
                writer?.resume()
                if let now { continuation.resume(with: now) }
            }
        } onCancel: {
            abandon()
        }
    }

    private func take(
        _ continuation: CheckedContinuation<GenerationEvent?, any Error>, from state: inout State
    ) -> (Result<GenerationEvent?, any Error>?, CheckedContinuation<Void, Never>?) {
        if state.isAbandoned { return (.failure(CancellationError()), nil) }
        if !state.unread.isEmpty {
            let text = state.unread
            state.unread = ""
            return (.success(.text(text)), state.writer.take())
        }
        if let end = state.end {
            defer { state.isEndTaken = true }
            return (state.isEndTaken ? .success(nil) : end.map { $0 }, nil)
        }
        state.reader = continuation
        return (nil, nil)
    }

    private func abandon() {
        let (isFirst, reader, writer) = state.withLock { state in
            let isFirst = !state.isAbandoned && state.end == nil
            // An ended answer stays readable: a cancelled reader may still take what is there.
            if isFirst {
                state.isAbandoned = true
                state.unread = ""
            }
            return (isFirst, state.reader.take(), state.writer.take())
        }
        reader?.resume(throwing: CancellationError())
        writer?.resume()
        if isFirst { onAbandon() }
    }
}
