import Core
internal import Synchronization

/// Counts the answers that are on their way, so that the store is closed only after the last of them is kept.
actor OpenAnswers {
    private struct Count {
        var open = 0
        var waiting: [Int: CheckedContinuation<Void, Never>] = [:]
        var tickets = 0
    }

    private nonisolated let count = Mutex(Count())
    /// The questions whose answers are not kept yet.
    private var running: Set<Dot> = []

    nonisolated func begin() { count.withLock { $0.open += 1 } }

    /// Those in the background are ended: not by their client.
    private(set) var isClosing = false

    func close() { isClosing = true }

    func asked(_ question: Dot) { running.insert(question) }
    func kept(_ question: Dot) { running.remove(question) }
    func isRunning(_ question: Dot) -> Bool { running.contains(question) }

    nonisolated func end() {
        let waiting = count.withLock { count in
            count.open -= 1
            guard count.open == 0 else { return [Int: CheckedContinuation<Void, Never>]() }
            defer { count.waiting = [:] }
            return count.waiting
        }
        for continuation in waiting.values { continuation.resume() }
    }

    /// Returns once none is open, or when the task is cancelled.
    nonisolated func none() async {
        let ticket = count.withLock { count in
            count.tickets += 1
            return count.tickets
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOver = count.withLock { count in
                    guard count.open > 0, !Task.isCancelled else { return true }
                    count.waiting[ticket] = continuation
                    return false
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            count.withLock { $0.waiting.removeValue(forKey: ticket) }?.resume()
        }
    }
}
