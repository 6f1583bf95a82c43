import Core

/// Counts the answers that are on their way, so that the store is closed only after the last of them is kept.
actor OpenAnswers {
    private var open = 0
    /// The questions whose answers are not kept yet.
    private var running: Set<Dot> = []
    private var waiting: [Int: CheckedContinuation<Void, Never>] = [:]
    private var tickets = 0

    func begin() { open += 1 }

    /// Those in the background are ended: not by their client.
    private(set) var isClosing = false

    func close() { isClosing = true }

    func asked(_ question: Dot) { running.insert(question) }
    func kept(_ question: Dot) { running.remove(question) }
    func isRunning(_ question: Dot) -> Bool { running.contains(question) }

    func end() {
        open -= 1
        guard open == 0 else { return }
        for continuation in waiting.values { continuation.resume() }
        waiting = [:]
    }

    /// Returns once none is open, or when the task is cancelled.
    func none() async {
        guard open > 0, !Task.isCancelled else { return }
        tickets += 1
        let ticket = tickets
        await withTaskCancellationHandler {
            await withCheckedContinuation { waiting[ticket] = $0 }
        } onCancel: {
            Task { await self.giveUp(ticket) }
        }
    }

    private func giveUp(_ ticket: Int) { waiting.removeValue(forKey: ticket)?.resume() }
}
