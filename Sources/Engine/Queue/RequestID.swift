/// A request within one engine, counted from 1.
struct RequestID: Hashable, Sendable {
    var number: UInt64

    /// As written to the child.
    var wire: String { "r\(number)" }

    init(number: UInt64) { self.number = number }

    init?(wire: String) {
        guard wire.first == "r", let number = UInt64(wire.dropFirst()) else { return nil }
        self.number = number
    }
}
