import Core

/// To which streams the latest operations belong. Bounded; the oldest go.
struct RecentStreams {
    private static let limit = 8_192

    private var streams: [Dot: StreamID] = [:]
    private var older: [Dot: StreamID] = [:]

    subscript(dot: Dot) -> StreamID? { streams[dot] ?? older[dot] }

    mutating func add(_ operation: Operation) {
        streams[operation.dot] = operation.stream
        guard streams.count >= Self.limit / 2 else { return }
        older = streams
        streams = [:]
    }
}
