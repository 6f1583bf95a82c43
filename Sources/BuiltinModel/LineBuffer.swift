/// Cuts a stream of bytes into lines, keeping at most `limit` bytes of an unfinished one.
struct LineBuffer {
    enum Line: Equatable {
        case bytes([UInt8])
        /// One that was longer than the limit; its bytes are gone.
        case overlong
    }

    private let limit: Int
    private var unfinished: [UInt8] = []
    private var isOverlong = false

    init(limit: Int) { self.limit = limit }

    /// The lines that `bytes` complete, without their ends. Empty lines are left out.
    mutating func append(_ bytes: UnsafeRawBufferPointer) -> [Line] {
        var lines: [Line] = []
        var rest = bytes[...]
        while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
            add(rest[..<end])
            if isOverlong {
                lines.append(.overlong)
            } else if !unfinished.isEmpty {
                lines.append(.bytes(unfinished))
            }
            unfinished = []
            isOverlong = false
            rest = rest[(end + 1)...]
        }
        add(rest)
        return lines
    }

    private mutating func add(_ part: Slice<UnsafeRawBufferPointer>) {
        guard !isOverlong else { return }
        if part.count > limit - unfinished.count {
            isOverlong = true
            unfinished = []
        } else {
            unfinished.append(contentsOf: part)
        }
    }
}
