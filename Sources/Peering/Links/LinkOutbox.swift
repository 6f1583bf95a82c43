import Core
import NIOCore
import Synchronization

/// Messages of a link that wait to be written. Any thread puts them in; the connection's event loop takes them out, all
/// that there are at once.
final class LinkOutbox: Sendable {
    enum Answer {
        /// Someone is on the way to fetch it already, or it was refused.
        case done
        /// Somebody must be sent to fetch it.
        case fetch
        /// The other side takes too little for too long: the link must be closed.
        case overflow
    }

    private struct State {
        var messages = CircularBuffer<[UInt8]>()
        var isFetched = false
        var isClosed = false
    }

    private let state = Mutex(State())
    /// Put in and not yet given to the system, whether still here or on its way through TLS.
    private let bytes = Atomic<Int>(0)

    var queuedBytes: Int { bytes.load(ordering: .relaxed) }

    func put(_ message: [UInt8]) -> Answer {
        state.withLock { state in
            guard !state.isClosed else { return .done }
            guard queuedBytes <= Limits.linkQueueBytes + Limits.linkMessageBytes else {
                state.isClosed = true
                return .overflow
            }
            bytes.wrappingAdd(message.count, ordering: .relaxed)
            state.messages.append(message)
            defer { state.isFetched = true }
            return state.isFetched ? .done : .fetch
        }
    }

    func takeAll() -> CircularBuffer<[UInt8]> {
        state.withLock { state in
            state.isFetched = false
            defer { state.messages = CircularBuffer() }
            return state.messages
        }
    }

    /// So many bytes of messages have left.
    func left(_ count: Int) { bytes.wrappingSubtract(count, ordering: .relaxed) }

    /// What is put in from now on is dropped. False when it was closed already.
    func close() -> Bool {
        state.withLock { state in
            defer { state.isClosed = true }
            return !state.isClosed
        }
    }
}
