import Synchronization

/// Counts an engine's requests.
final class RequestCounter: Sendable {
    private let last = Atomic<UInt64>(0)

    func next() -> RequestID { RequestID(number: last.wrappingAdd(1, ordering: .relaxed).newValue) }
}
