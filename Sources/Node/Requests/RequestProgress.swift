internal import Synchronization

/// What of a request can be watched on this host: the texts of its parts as they grow, and that something has changed.
final class RequestProgress: Sendable {
    private struct State {
        var texts: [String] = []
        var listeners: [Int: AsyncStream<Void>.Continuation] = [:]
        var next = 0
    }

    private let state = Mutex(State())

    /// An attempt begins: what the one before wrote counts no more.
    func begin(parts: Int) {
        state.withLock { $0.texts = Array(repeating: "", count: parts) }
        changed()
    }

    func add(_ piece: String, to part: Int) {
        state.withLock { if $0.texts.indices.contains(part) { $0.texts[part] += piece } }
        changed()
    }

    /// What each part holds behind so many bytes of it.
    func pieces(behind told: [Int]) -> [(part: Int, text: String)] {
        state.withLock { state in
            state.texts.enumerated().compactMap { part, text in
                let begin = told.indices.contains(part) ? told[part] : 0
                guard text.utf8.count > begin else { return nil }
                return (part, String(decoding: text.utf8.dropFirst(begin), as: UTF8.self))
            }
        }
    }

    func changed() {
        let listeners = state.withLock { $0.listeners.values.map { $0 } }
        for listener in listeners { listener.yield() }
    }

    /// Wakes now, and with each change from now on; several may be one.
    func changes() -> AsyncStream<Void> {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let number = state.withLock { state in
            state.next += 1
            state.listeners[state.next] = continuation
            return state.next
        }
        continuation.onTermination = { [weak self] _ in
            self?.state.withLock { _ = $0.listeners.removeValue(forKey: number) }
        }
        continuation.yield()
        return stream
    }

    var isWatched: Bool { state.withLock { !$0.listeners.isEmpty } }

    func close() {
        let listeners = state.withLock { $0.listeners.values.map { $0 } }
        for listener in listeners { listener.finish() }
    }
}
