import Core
import Synchronization

/// Something that happens once, and those who wait for it.
final class Gate: Sendable {
    private struct State {
        var isOpen = false
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())

    func open() {
        let waiting = state.withLock { state in
            state.isOpen = true
            defer { state.waiting = [] }
            return state.waiting
        }
        for continuation in waiting { continuation.resume() }
    }

    func wait() async {
        await withCheckedContinuation { continuation in
            let isOpen = state.withLock { state in
                if !state.isOpen { state.waiting.append(continuation) }
                return state.isOpen
            }
            if isOpen { continuation.resume() }
        }
    }
}

/// A list that tasks add to and the test reads.
final class Record<Element: Sendable>: Sendable {
    private let content = Mutex<[Element]>([])

    func append(_ element: Element) { content.withLock { $0.append(element) } }
    var all: [Element] { content.withLock { $0 } }
}
