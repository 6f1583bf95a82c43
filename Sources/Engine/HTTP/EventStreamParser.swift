import Core

/// Cuts a stream of server-sent events into the data of each; comments and other fields are passed over.
struct EventStreamParser: Sendable {
    private let limit: Int
    private var lines: LineSplitter
    private var data: [UInt8] = []
    private var hasData = false

    init(limit: Int) {
        self.limit = limit
        lines = LineSplitter(limit: limit)
    }

    /// The data of the events that `bytes` complete.
    ///
    /// - Throws: ``RuntimeError`` `.tooLarge` when one event is longer than the limit.
    mutating func append(_ bytes: [UInt8]) throws(RuntimeError) -> [[UInt8]] {
        var events: [[UInt8]] = []
        for var line in try lines.append(bytes) {
            if line.last == UInt8(ascii: "\r") { line.removeLast() }
            if line.isEmpty {
                if hasData { events.append(data) }
                data = []
                hasData = false
            } else if line.starts(with: Self.field) {
                let value = line.dropFirst(Self.field.count)
                if hasData { data.append(UInt8(ascii: "\n")) }
                data += value.first == UInt8(ascii: " ") ? value.dropFirst() : value
                hasData = true
                guard data.count <= limit else {
                    throw RuntimeError(.tooLarge, "the engine wrote an event of more than \(limit) bytes")
                }
            }
        }
        return events
    }

    private static let field = Array("data:".utf8)
}
