import Synchronization

/// Something that happens once, and those who wait for it.
final class Latch: Sendable {
    private struct State {
        var isOpen = false
        var nextWaiter: UInt64 = 0
        var waiters: [UInt64: @Sendable () -> Void] = [:]
    }

    private let state = Mutex(State())

    var isOpen: Bool { state.withLock { $0.isOpen } }

    func open() {
        let waiters = state.withLock { state in
            state.isOpen = true
            defer { state.waiters = [:] }
            return state.waiters
        }
        for waiter in waiters.values { waiter() }
    }

    /// Returns when it has happened or the task is cancelled.
    func opened() async {
        let id = newWaiter()
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                // Cancellation may have come before the continuation; its handler then found nothing to resume.
                let isOver = state.withLock { state in
                    if state.isOpen || Task.isCancelled { return true }
                    state.waiters[id] = { continuation.resume() }
                    return false
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            state.withLock { $0.waiters.removeValue(forKey: id) }?()
        }
    }

    /// Runs `work`, and cancels it as soon as it has happened. Returns when `work` has ended, whatever comes first.
    ///
    /// - Parameter executor: where `work` prefers to run; nil for the pool.
    /// - Throws: `CancellationError` when it has happened first; what `work` throws otherwise.
    func whileClosed<Value: Sendable>(
        on executor: (any TaskExecutor)? = nil, _ work: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        // One task that can be cancelled, not a group of two: every request comes by here.
        let task = Task(executorPreference: executor) { try await work() }
        let id = newWaiter()
        let isOver = state.withLock { state in
            if !state.isOpen { state.waiters[id] = { task.cancel() } }
            return state.isOpen
        }
        if isOver { task.cancel() }
        defer { state.withLock { state in state.waiters[id] = nil } }
        let value = try await withTaskCancellationHandler {
            try await task.value
        } onCancel: {
            task.cancel()
        }
        if isOpen { throw CancellationError() }
        return value
    }

    private func newWaiter() -> UInt64 {
        state.withLock { state in
            state.nextWaiter += 1
            return state.nextWaiter
        }
    }
}
