/// Turns the bytes of an answer into text that may be shown: whole characters only, nothing that belongs to a stop
/// string or may still become one.
struct AnswerText {
    private let stops: [[UInt8]]
    private let words: [String]
    /// The start of a character whose end has not come.
    private var partial: [UInt8] = []
    /// Text that may be the start of a stop string.
    private var held: [UInt8] = []
    /// The stop string that was written; nothing more comes out then.
    private(set) var stop: String?
    var isStopped: Bool { stop != nil }

    /// Stop strings must not be empty.
    init(stop: [String]) {
        words = stop
        stops = stop.map { Array($0.utf8) }
    }

    /// What may be shown now; often nothing.
    mutating func append(_ byte: UInt8) -> String {
        guard !isStopped else { return "" }
        partial.append(byte)
        let tail = Self.incompleteTail(partial)
        let whole = partial.dropLast(tail)
        guard !whole.isEmpty else { return "" }
        // What is not UTF-8 becomes U+FFFD here.
        let text = String(decoding: whole, as: UTF8.self)
        partial = Array(partial.suffix(tail))
        return release(text)
    }

    /// What is left when the answer ends. The start of a character whose end never came is left out, as llama-server
    /// does.
    mutating func finish() -> String {
        guard !isStopped else { return "" }
        partial = []
        defer { held = [] }
        return String(decoding: held, as: UTF8.self)
    }

    private mutating func release(_ text: String) -> String {
        if stops.isEmpty { return text }
        held.append(contentsOf: text.utf8)
        if let start = held.indices.first(where: { start in stops.contains { held[start...].starts(with: $0) } }) {
            stop = zip(stops, words).first { held[start...].starts(with: $0.0) }?.1
            defer { held = [] }
            return String(decoding: held[..<start], as: UTF8.self)
        }
        // A stop string begins with a whole character, so that no character is cut here.
        let cut = held.indices.first { start in stops.contains { $0.starts(with: held[start...]) } } ?? held.endIndex
        defer { held = Array(held[cut...]) }
        return String(decoding: held[..<cut], as: UTF8.self)
    }

    /// How many bytes at the end are the start of a well-formed character (Unicode 16, table 3-7).
    static func incompleteTail(_ bytes: [UInt8]) -> Int {
        for length in 1...3 where length <= bytes.count {
            let tail = bytes.suffix(length)
            guard let lead = tail.first, lead & 0xC0 != 0x80 else { continue }
            let second: ClosedRange<UInt8>
            let needed: Int
            switch lead {
            case 0xC2...0xDF: (needed, second) = (2, 0x80...0xBF)
            case 0xE0: (needed, second) = (3, 0xA0...0xBF)
            case 0xED: (needed, second) = (3, 0x80...0x9F)
            case 0xE1...0xEF: (needed, second) = (3, 0x80...0xBF)
            case 0xF0: (needed, second) = (4, 0x90...0xBF)
            case 0xF4: (needed, second) = (4, 0x80...0x8F)
            case 0xF1...0xF3: (needed, second) = (4, 0x80...0xBF)
            default: return 0
            }
            guard length < needed else { return 0 }
            return tail.dropFirst().first.map(second.contains) ?? true ? length : 0
        }
        return 0
    }
}
