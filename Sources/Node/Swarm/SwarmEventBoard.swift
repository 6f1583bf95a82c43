import Core

/// Hands events to whoever listens; a listener that does not keep up loses the oldest.
struct SwarmEventBoard {
    private var listeners: [Int: AsyncStream<SwarmEvent>.Continuation] = [:]
    private var next = 0
    private static let buffered = 256
    private static let most = 256

    /// - Parameter onEnd: called with the listener's number when it has gone.
    mutating func listen(onEnd: @escaping @Sendable (Int) -> Void) -> AsyncStream<SwarmEvent> {
        let number = next
        next += 1
        let (stream, continuation) = AsyncStream.makeStream(
            of: SwarmEvent.self, bufferingPolicy: .bufferingNewest(Self.buffered))
        if listeners.count >= Self.most, let oldest = listeners.keys.min() {
            listeners.removeValue(forKey: oldest)?.finish()
        }
        listeners[number] = continuation
        continuation.onTermination = { _ in onEnd(number) }
        return stream
    }

    mutating func forget(_ number: Int) { listeners[number] = nil }

    func post(_ event: SwarmEvent) {
        for listener in listeners.values { listener.yield(event) }
    }

    mutating func close() {
        for listener in listeners.values { listener.finish() }
        listeners = [:]
    }
}
