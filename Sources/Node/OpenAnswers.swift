/// Counts the answers that are on their way, so that the store is closed only after the last of them is kept.
actor OpenAnswers {
    private var open = 0
    private var waiting: [CheckedContinuation<Void, Never>] = []

    func begin() { open += 1 }

    func end() {
        open -= 1
        guard open == 0 else { return }
        for continuation in waiting { continuation.resume() }
        waiting = []
    }

    /// Returns once none is open.
    func none() async {
        guard open > 0 else { return }
        await withCheckedContinuation { waiting.append($0) }
    }
}
