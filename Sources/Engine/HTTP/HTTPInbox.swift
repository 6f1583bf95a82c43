import Core
import NIOCore
import NIOHTTP1
import Synchronization

/// What comes back on one connection: the event loop puts it in, one reader takes it. What is unread is bounded: the
/// socket is not read beyond, so that an upstream that runs ahead of its reader waits.
final class HTTPInbox: Sendable {
    enum Part: Sendable {
        case head(HTTPResponseHead)
        case body(ByteBuffer)
        case end
    }

    /// The connection broke off, or what came was no HTTP.
    struct ConnectionLost: Error {}

    private struct State {
        var parts: [Part] = []
        var unread = 0
        var waiter: CheckedContinuation<Part, any Error>?
        var failure: (any Error)?
        /// Set while a request is under way.
        var clock: RunClock?
        var isBlocked = false
        /// The event loop wanted to read on and was told not to.
        var isPaused = false
        var keepsAlive = false
        /// What is left of the answer is of no interest.
        var isDraining = false

        mutating func append(_ part: Part) {
            guard case .body(var bytes) = part else { return parts.append(part) }
            unread += bytes.readableBytes
            // What nobody has taken yet is taken together.
            if case .body(var before)? = parts.last {
                parts.removeLast()
                before.writeBuffer(&bytes)
                parts.append(.body(before))
            } else {
                parts.append(part)
            }
        }
    }

    private let unreadLimit: Int
    private let state = Mutex(State())
    private let now: @Sendable () -> ContinuousClock.Instant = { ContinuousClock().now }

    init(unreadLimit: Int) { self.unreadLimit = unreadLimit }

    // MARK: The reader's side

    /// A request is about to be written.
    func begin(_ bounds: EngineBounds) {
        state.withLock { $0.clock = RunClock(bounds: bounds, at: now()) }
    }

    /// Takes the next part. `resume` is called when the socket should be read again.
    func next(resume: @Sendable () -> Void) async throws -> Part {
        try await withCheckedThrowingContinuation { continuation in
            let (result, isResumed) = state.withLock { state -> (Result<Part, any Error>?, Bool) in
                if let (part, isResumed) = take(from: &state) { return (.success(part), isResumed) }
                if let failure = state.failure { return (.failure(failure), false) }
                state.waiter = continuation
                return (nil, false)
            }
            if isResumed { resume() }
            if let result { continuation.resume(with: result) }
        }
    }

    /// A part that is there already; nil where it must be waited for.
    func ready(resume: @Sendable () -> Void) -> Part? {
        guard let (part, isResumed) = state.withLock({ state in take(from: &state) }) else { return nil }
        if isResumed { resume() }
        return part
    }

    /// The first part, and whether the socket should be read again.
    private func take(from state: inout State) -> (part: Part, isResumed: Bool)? {
        guard !state.parts.isEmpty else { return nil }
        let part = state.parts.removeFirst()
        if case .body(let bytes) = part { state.unread -= bytes.readableBytes }
        if state.parts.isEmpty, state.isBlocked {
            state.isBlocked = false
            state.clock?.unblocked(at: now())
        }
        if case .end = part { state.clock = nil }
        let isResumed = state.isPaused && state.unread <= unreadLimit
        if isResumed { state.isPaused = false }
        return (part, isResumed)
    }

    /// The exchange is over and nothing is left of it: the connection may carry another one.
    var isReusable: Bool {
        state.withLock { $0.clock == nil && $0.failure == nil && $0.parts.isEmpty && $0.keepsAlive }
    }

    /// The reader has what it wants; what follows, up to the answer's end, is dropped. False where the connection cannot
    /// carry another exchange after that.
    func drain() -> Bool {
        state.withLock { state in
            guard state.failure == nil, state.keepsAlive, state.waiter == nil else { return false }
            if case .end? = state.parts.last { state.clock = nil }
            state.isDraining = state.clock != nil
            state.parts = []
            state.unread = 0
            state.isPaused = false
            return true
        }
    }

    func fail(_ error: any Error) {
        let waiter = state.withLock { state in
            state.failure = state.failure ?? error
            return state.waiter.take()
        }
        waiter?.resume(throwing: error)
    }

    // MARK: The event loop's side

    /// Whether the socket may be read now; if not, ``next(resume:)`` will ask for it.
    func mayRead() -> Bool {
        state.withLock { state in
            guard state.unread > unreadLimit, state.failure == nil else { return true }
            state.isPaused = true
            return false
        }
    }

    /// False when nobody has asked for anything.
    func put(_ part: Part) -> Bool {
        let (isWanted, waiter) = state.withLock { state -> (Bool, CheckedContinuation<Part, any Error>?) in
            guard state.clock != nil, state.failure == nil else { return (state.failure != nil, nil) }
            if state.isDraining {
                if case .end = part {
                    state.isDraining = false
                    state.clock = nil
                }
                return (true, nil)
            }
            state.clock?.heard(at: now())
            if case .head(let head) = part { state.keepsAlive = head.isKeepAlive }
            if let waiter = state.waiter.take() {
                if case .end = part { state.clock = nil }
                return (true, waiter)
            }
            state.append(part)
            if !state.isBlocked {
                state.isBlocked = true
                state.clock?.blocked(at: now())
            }
            return (true, nil)
        }
        waiter?.resume(returning: part)
        return isWanted
    }

    /// Why the exchange must end, if it must.
    func verdict() -> RuntimeError? {
        state.withLock { state in
            guard state.failure == nil, case .failed(let error)? = state.clock?.verdict(at: now()) else { return nil }
            return error
        }
    }
}
