import Core

/// Reads server-sent events as they come in pieces: the `data` of each.
struct EventStream {
    private var pending: [UInt8] = []

    /// Takes the next piece and returns the data of the events that it completes.
    mutating func receive(_ bytes: [UInt8]) throws -> [String] {
        pending += bytes
        guard pending.count <= Limits.engineOutputBytes else {
            throw RuntimeError(.tooLarge, "the daemon sent a line that is too long")
        }
        var events: [String] = []
        while let end = pending.firstIndex(of: UInt8(ascii: "\n")) {
            let line = String(decoding: pending[..<end], as: UTF8.self)
            pending.removeSubrange(...end)
            if line.hasPrefix("data:") { events.append(String(line.dropFirst(5).drop { $0 == " " })) }
        }
        return events
    }
}
