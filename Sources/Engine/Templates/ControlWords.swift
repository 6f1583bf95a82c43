/// The words that a model's tokenizer turns into control tokens. Engines read a rendered prompt with control tokens
/// switched on (llama.cpp: `parse_special`), so such a word in a message's text would end the turn or forge another.
struct ControlWords: Sendable {
    /// By their first byte.
    private var words: [UInt8: [[UInt8]]] = [:]

    init(_ words: some Sequence<String>) {
        for word in Set(words) {
            let bytes = Array(word.utf8)
            // A single character is ordinary text, whatever the vocabulary calls it.
            guard let first = bytes.first, bytes.count > 1 else { continue }
            self.words[first, default: []].append(bytes)
        }
    }

    /// The text with U+200B, a space without width, after the first character of each control word: it reads the
    /// same, and is ordinary text to the tokenizer.
    func neutralised(_ text: String) -> String {
        let bytes = Array(text.utf8)
        guard bytes.contains(where: { words[$0] != nil }) else { return text }
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count + 16)
        // Set while the bytes of a control word's first character are copied; the space follows them.
        var owesSpace = false
        for (index, byte) in bytes.enumerated() {
            let isBoundary = byte & 0xC0 != 0x80
            if owesSpace, isBoundary {
                result.append(contentsOf: "\u{200B}".utf8)
                owesSpace = false
            }
            result.append(byte)
            if isBoundary, let candidates = words[byte] {
                owesSpace = candidates.contains { bytes[index...].starts(with: $0) }
            }
        }
        return String(decoding: result, as: UTF8.self)
    }
}
