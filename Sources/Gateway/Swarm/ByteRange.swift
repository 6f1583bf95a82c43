/// What a `Range` header asks of a body (RFC 9110 §14), as far as one range goes.
enum ByteRange: Hashable {
    /// The whole body: there is no such header, or it is one that may be ignored.
    case whole
    /// Never empty, and within the body.
    case part(Range<Int>)
    /// Nothing of the body is asked for: 416.
    case unsatisfiable

    /// Several ranges at once, other units and what cannot be understood are ignored, as the RFC allows.
    init(_ header: String?, length: Int) {
        self = .whole
        guard let header, header.hasPrefix("bytes="), !header.contains(",") else { return }
        let text = header.dropFirst("bytes=".count)
        guard let dash = text.firstIndex(of: "-") else { return }
        let (first, last) = (text[..<dash], text[text.index(after: dash)...])
        if first.isEmpty {
            guard let count = Self.number(last) else { return }
            self = count == 0 || length == 0 ? .unsatisfiable : .part(max(0, length - count)..<length)
            return
        }
        guard let start = Self.number(first) else { return }
        var end = length
        if !last.isEmpty {
            guard let number = Self.number(last), number >= start else { return }
            end = number >= length ? length : number + 1
        }
        self = start < length ? .part(start..<end) : .unsatisfiable
    }

    /// Digits only. A number past the range of `Int` is past every body too.
    private static func number(_ text: Substring) -> Int? {
        guard !text.isEmpty, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        return Int(text) ?? .max
    }
}
