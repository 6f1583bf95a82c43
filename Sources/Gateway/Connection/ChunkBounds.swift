import Core

/// Follows a connection's bytes just far enough to bound what the parser takes in silence: the extensions of chunks,
/// and the trailers behind the last (hardening.md §3). What the bytes mean is the parser's business.
struct ChunkBounds {
    enum Framing: Hashable {
        case none
        case counted(Int)
        case chunked
    }

    enum Finding: Hashable {
        /// All of the bytes may pass.
        case pass
        /// So many bytes may pass; then the head is complete, and ``headEnded(_:)`` must say what follows.
        case headEnds(Int)
        case tooLong
    }

    private enum Place {
        /// In a head, so many bytes into the empty line that ends it.
        case head(matched: Int)
        /// In a body of known length, or in a chunk's data with the line end behind it.
        case data(left: Int, isChunk: Bool)
        /// In the line that gives a chunk's size.
        case size(Int, isComplete: Bool, length: Int)
        case trailers(length: Int, ofLine: Int)
    }

    /// 16 digits, the extensions, the line's end.
    private static let sizeLineBytes = 16 + Limits.chunkExtensionBytes + 2
    private static let headEnd = Array("\r\n\r\n".utf8)

    private var place = Place.head(matched: 0)

    mutating func headEnded(_ framing: Framing) {
        switch framing {
        case .none, .counted(0): place = .head(matched: 0)
        case .counted(let count): place = .data(left: count, isChunk: false)
        case .chunked: place = .size(0, isComplete: false, length: 0)
        }
    }

    mutating func follow(_ bytes: some Collection<UInt8>) -> Finding {
        var rest = bytes[...]
        while let byte = rest.first {
            if case .data(let left, let isChunk) = place {
                let count = min(left, rest.count)
                rest = rest.dropFirst(count)
                place = .data(left: left - count, isChunk: isChunk)
                guard count == left else { return .pass }
                place = isChunk ? .size(0, isComplete: false, length: 0) : .head(matched: 0)
                continue
            }
            rest = rest.dropFirst()
            switch place {
            case .data: break
            case .head(let matched):
                let next = byte == Self.headEnd[matched % 4] ? matched + 1 : byte == Self.headEnd[0] ? 1 : 0
                place = .head(matched: next % 4)
                if next == 4 { return .headEnds(bytes.count - rest.count) }
            case .size(let size, let isComplete, let length):
                guard length < Self.sizeLineBytes, size <= Int.max >> 5 else { return .tooLong }
                if byte == UInt8(ascii: "\n") {
                    place = size == 0 ? .trailers(length: 0, ofLine: 0) : .data(left: size + 2, isChunk: true)
                } else if !isComplete, let digit = Self.digit(byte) {
                    place = .size(size << 4 | digit, isComplete: false, length: length + 1)
                } else {
                    place = .size(size, isComplete: true, length: length + 1)
                }
            case .trailers(let length, let line):
                guard length < Limits.headerBytes else { return .tooLong }
                switch byte {
                case UInt8(ascii: "\n") where line == 0: place = .head(matched: 0)
                case UInt8(ascii: "\n"): place = .trailers(length: length + 1, ofLine: 0)
                case UInt8(ascii: "\r"): place = .trailers(length: length + 1, ofLine: line)
                default: place = .trailers(length: length + 1, ofLine: line + 1)
                }
            }
        }
        return .pass
    }

    private static func digit(_ byte: UInt8) -> Int? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): Int(byte) - 48
        case UInt8(ascii: "a")...UInt8(ascii: "f"): Int(byte) - 87
        case UInt8(ascii: "A")...UInt8(ascii: "F"): Int(byte) - 55
        default: nil
        }
    }
}
