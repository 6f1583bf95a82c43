import Core
import NIOCore
import Synchronization

/// Messages of a link that came and wait for their one reader. When too much waits the socket is read no further, so
/// that a slow reader slows the other side and not memory.
final class LinkInbox: Sendable {
    struct State {
        var messages = CircularBuffer<[UInt8]>()
        var bytes = 0
        /// The socket is read no further until the reader has caught up.
        var isFull = false
        var reader: CheckedContinuation<[UInt8]?, any Error>?
        /// No message follows; a failure is told to the reader behind the last one.
        var end: Result<[UInt8]?, any Error>?
    }

    let state = Mutex(State())

    /// False: read no more from the socket until ``next`` has called for it.
    func push(_ message: [UInt8]) -> Bool {
        let (reader, goesOn): (CheckedContinuation<[UInt8]?, any Error>?, Bool) = state.withLock { state in
            guard state.end == nil else { return (nil, true) }
            if let reader = state.reader {
                state.reader = nil
                return (reader, true)
            }
            state.messages.append(message)
            state.bytes += message.count
            if state.bytes > Limits.linkInboxBytes { state.isFull = true }
            return (nil, !state.isFull)
        }
        reader?.resume(returning: message)
        return goesOn
    }

    /// The next message, or nil at the end. `callForMore` is called when the socket may be read again.
    func next(callForMore: () -> Void) async throws -> [UInt8]? {
        let (ready, isHungry): (Result<[UInt8]?, any Error>?, Bool) = state.withLock { state in
            guard let message = state.messages.popFirst() else { return (state.end, false) }
            state.bytes -= message.count
            guard state.isFull, state.bytes <= Limits.linkInboxBytes / 2 else { return (.success(message), false) }
            state.isFull = false
            return (.success(message), true)
        }
        if isHungry { callForMore() }
        if let ready { return try ready.get() }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { reader in
                let now: Result<[UInt8]?, any Error>? = state.withLock { state in
                    // What came in between, cancellation included, found no reader to tell.
                    if Task.isCancelled { return .failure(CancellationError()) }
                    if let message = state.messages.popFirst() {
                        state.bytes -= message.count
                        return .success(message)
                    }
                    if let end = state.end { return end }
                    precondition(state.reader == nil, "a link has one reader")
                    state.reader = reader
                    return nil
                }
                if let now { reader.resume(with: now) }
            }
        } onCancel: {
            takeReader()?.resume(throwing: CancellationError())
        }
    }

    /// Nothing more comes; what waits is still read.
    func finish(_ failure: LinkFailure?) {
        let end: Result<[UInt8]?, any Error> = failure.map { .failure($0) } ?? .success(nil)
        let reader = state.withLock { state in
            guard state.end == nil else { return nil as CheckedContinuation<[UInt8]?, any Error>? }
            state.end = end
            defer { state.reader = nil }
            return state.reader
        }
        reader?.resume(with: end)
    }

    /// Nothing more is wanted: what waits is dropped.
    func discard() {
        finish(nil)
        state.withLock { state in
            state.messages = CircularBuffer()
            state.bytes = 0
            state.end = .success(nil)
        }
    }

    private func takeReader() -> CheckedContinuation<[UInt8]?, any Error>? {
        state.withLock { state in
            defer { state.reader = nil }
            return state.reader
        }
    }
}
