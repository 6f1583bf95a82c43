import Core

/// Cuts a stream of bytes into its lines; a line is bounded.
struct LineSplitter: Sendable {
    private let limit: Int
    private var partial: [UInt8] = []

    init(limit: Int) { self.limit = limit }

    /// The lines that `bytes` complete, without their line feeds.
    ///
    /// - Throws: ``RuntimeError`` `.tooLarge` when a line is longer than the limit.
    mutating func append(_ bytes: [UInt8]) throws(RuntimeError) -> [[UInt8]] {
        var lines: [[UInt8]] = []
        var rest = bytes[...]
        while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
            try extend(by: rest[..<end])
            lines.append(partial)
            partial = []
            rest = rest[(end + 1)...]
        }
        try extend(by: rest)
        return lines
    }

    private mutating func extend(by bytes: ArraySlice<UInt8>) throws(RuntimeError) {
        guard partial.count + bytes.count <= limit else {
            throw RuntimeError(.tooLarge, "the engine wrote a line of more than \(limit) bytes")
        }
        partial.append(contentsOf: bytes)
    }
}
