import Core

/// Follows a connection's bytes just far enough to bound what the parser takes in silence: the extensions of chunks,
/// and the trailers behind the last (hardening.md §3); first lines with more spaces than two, or of another protocol
/// (llhttp takes `GET / RTSP/1.0` for HTTP). What the bytes mean is the parser's business.
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
        /// So many bytes belong to requests before it and may pass; the line behind them begins no request.
        case strangeLine(Int)
    }

    private enum Place {
        /// In a head, so many bytes into the empty line that ends it.
        case head(matched: Int, line: FirstLine)
        /// In a body of known length, or in a chunk's data with the line end behind it.
        case data(left: Int, isChunk: Bool)
        /// In the line that gives a chunk's size.
        case size(Int, isComplete: Bool, length: Int)
        case trailers(length: Int, ofLine: Int)
    }

    /// How far the first line of a head has come: `METHOD target HTTP/…`.
    private enum FirstLine {
        case none
        case method
        case target(isEmpty: Bool)
        /// So many bytes of the protocol's name are right.
        case version(Int)
        case done
    }

    /// 16 digits, the extensions, the line's end.
    private static let sizeLineBytes = 16 + Limits.chunkExtensionBytes + 2
    private static let headEnd = Array("\r\n\r\n".utf8)
    private static let protocolName = Array("HTTP/".utf8)
    private static let newHead = Place.head(matched: 0, line: .none)

    private var place = Self.newHead

    mutating func headEnded(_ framing: Framing) {
        switch framing {
        case .none, .counted(0): place = Self.newHead
        case .counted(let count): place = .data(left: count, isChunk: false)
        case .chunked: place = .size(0, isComplete: false, length: 0)
        }
    }

    mutating func follow(_ bytes: some Collection<UInt8>) -> Finding {
        var rest = bytes[...]
        // Where in these bytes the head begins that is being followed.
        var headStart = 0
        while let byte = rest.first {
            if case .data(let left, let isChunk) = place {
                let count = min(left, rest.count)
                rest = rest.dropFirst(count)
                place = .data(left: left - count, isChunk: isChunk)
                guard count == left else { return .pass }
                place = isChunk ? .size(0, isComplete: false, length: 0) : Self.newHead
                headStart = bytes.count - rest.count
                continue
            }
            if case .head(matched: 0, line: .done) = place, byte != Self.headEnd[0] {
                // Nothing in a header's line matters but its end.
                rest = rest.drop { $0 != UInt8(ascii: "\r") }
                continue
            }
            rest = rest.dropFirst()
            switch place {
            case .data: break
            case .head(let matched, let line):
                guard let line = Self.next(line, byte) else { return .strangeLine(headStart) }
                let next = byte == Self.headEnd[matched % 4] ? matched + 1 : byte == Self.headEnd[0] ? 1 : 0
                place = .head(matched: next % 4, line: line)
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
                case UInt8(ascii: "\n") where line == 0:
                    place = Self.newHead
                    headStart = bytes.count - rest.count
                case UInt8(ascii: "\n"): place = .trailers(length: length + 1, ofLine: 0)
                case UInt8(ascii: "\r"): place = .trailers(length: length + 1, ofLine: line)
                default: place = .trailers(length: length + 1, ofLine: line + 1)
                }
            }
        }
        return .pass
    }

    /// Nil where no first line goes on so. A line that ends early is the parser's to refuse.
    private static func next(_ line: FirstLine, _ byte: UInt8) -> FirstLine? {
        let isEnd = byte == UInt8(ascii: "\r") || byte == UInt8(ascii: "\n")
        let isSpace = byte == UInt8(ascii: " ")
        switch line {
        case .none: return isEnd ? FirstLine.none : .method
        case .method: return isEnd ? .done : isSpace ? .target(isEmpty: true) : .method
        case .target(let isEmpty):
            if isEnd { return .done }
            guard isSpace else { return .target(isEmpty: false) }
            return isEmpty ? nil : .version(0)
        case .version(let count):
            guard byte == protocolName[count % 5] else { return nil }
            return count == 4 ? .done : .version(count + 1)
        case .done: return .done
        }
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
