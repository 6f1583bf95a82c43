import Core
import Synchronization

/// The last bytes of a stream that is always drained.
final class TailBuffer: Sendable {
    private struct State {
        var bytes: [UInt8] = []
        var total = 0
    }

    private let limit: Int
    private let state = Mutex(State())

    init(limit: Int = Limits.engineStderrTailBytes) { self.limit = limit }

    func append(_ bytes: [UInt8]) {
        state.withLock { state in
            state.total += bytes.count
            state.bytes.append(contentsOf: bytes.suffix(limit))
            // Cut seldom: a byte is moved at most once per `limit` bytes that follow it.
            if state.bytes.count > 2 * limit { state.bytes.removeFirst(state.bytes.count - limit) }
        }
    }

    /// The tail as text, repaired where it is not UTF-8. For decisions only: engines may print prompts here.
    var text: String {
        state.withLock { String(decoding: $0.bytes.suffix(limit), as: UTF8.self) }
    }

    var totalBytes: Int { state.withLock { $0.total } }
}
