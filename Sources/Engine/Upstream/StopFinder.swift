/// Finds the first stop string in text that comes in pieces, and holds back what may still become one.
struct StopFinder: Sendable {
    private let stops: [(word: String, bytes: [UInt8])]
    private var held: [UInt8] = []

    /// None of them is empty.
    init(_ stops: [String]) { self.stops = stops.map { ($0, Array($0.utf8)) } }

    /// What may be shown now, and the stop string behind it once there is one.
    mutating func append(_ text: String) -> (text: String, stop: String?) {
        held += text.utf8
        for start in held.indices {
            let rest = held[start...]
            if let stop = stops.first(where: { rest.starts(with: $0.bytes) }) { return (take(start), stop.word) }
            // A stop string begins with a whole character, so that no character is cut here.
            if stops.contains(where: { $0.bytes.starts(with: rest) }) { return (take(start), nil) }
        }
        return (take(held.count), nil)
    }

    /// What is left when the text ends without one.
    mutating func finish() -> String { take(held.count) }

    private mutating func take(_ count: Int) -> String {
        defer { held.removeFirst(count) }
        return String(decoding: held.prefix(count), as: UTF8.self)
    }
}
