/// Reads what `llama-completion` writes in interactive mode (engines.md §5.2): pieces of the answer as raw bytes, then
/// a newline if the model ended its turn, then the marker. Whatever might become a marker or a stop string, and
/// whatever is not yet a whole character, is held back. A pure machine.
///
/// An answer that is cut by its token limit right after a newline looks like one that the model ended; the newline
/// is then lost and the reason given as `stop`.
struct CompletionOutput: Sendable {
    enum End: Hashable, Sendable {
        /// The model ended its turn.
        case turn
        /// The token limit was reached.
        case limit
        /// One of our stop strings was written.
        case stopString
    }

    private let marker: [UInt8]
    private let turnEnd: [UInt8]
    private let stops: [[UInt8]]
    private let skipsLeadingSpace: Bool
    private var pending: [UInt8] = []
    private var hasText = false
    private(set) var end: End?
    /// Which one, of ``End/stopString``.
    private(set) var stop: String?
    /// Bytes of the answer so far, as the model wrote them.
    private(set) var answerBytes = 0

    init(marker: String, stop: [String], skipsLeadingSpace: Bool = false) {
        self.marker = Array(marker.utf8)
        turnEnd = [UInt8(ascii: "\n")] + self.marker
        stops = stop.map { Array($0.utf8) }.filter { !$0.isEmpty }
        self.skipsLeadingSpace = skipsLeadingSpace
    }

    /// Returns the text that is certain now; ``end`` is set when the answer is complete, and what follows is ignored.
    mutating func append(_ bytes: [UInt8]) -> String {
        guard end == nil else { return "" }
        pending.append(contentsOf: bytes)
        skipLeadingSpace()
        if let (start, end) = firstEnd() {
            self.end = end
            if end == .stopString {
                let found = stops.first { pending[start...].starts(with: $0) }
                stop = found.map { String(decoding: $0, as: UTF8.self) }
            }
            return take(start)
        }
        return take(pending.count - heldBack())
    }

    /// What is held back at the end of the stream, for the case that the program ended by itself because the context
    /// is full: it writes two newlines then.
    mutating func finishWithoutMarker() -> String {
        end = .limit
        if pending.suffix(2).elementsEqual(Self.farewell) { pending.removeLast(2) }
        return take(pending.count)
    }

    private mutating func skipLeadingSpace() {
        guard skipsLeadingSpace, !hasText else { return }
        pending.removeFirst(pending.prefix { $0 == UInt8(ascii: " ") }.count)
    }

    /// Where the answer ends: the first occurrence of any end; where two begin together, the stop string.
    private func firstEnd() -> (start: Int, end: End)? {
        for start in pending.indices {
            let rest = pending[start...]
            if stops.contains(where: { rest.starts(with: $0) }) { return (start, .stopString) }
            if rest.starts(with: turnEnd) { return (start, .turn) }
            if rest.starts(with: marker) { return (start, .limit) }
        }
        return nil
    }

    /// What the program writes after an answer that filled the context.
    private static let farewell = Array("\n\n".utf8)

    /// How many of the last bytes must wait for what follows.
    private func heldBack() -> Int {
        if pending.suffix(2).elementsEqual(Self.farewell) { return 2 }
        let patterns = stops + [turnEnd, marker]
        let longest = (patterns.map(\.count).max() ?? 1) - 1
        for start in max(0, pending.count - longest)..<pending.count {
            let rest = pending[start...]
            if patterns.contains(where: { $0.count > rest.count && $0.starts(with: rest) }) {
                return pending.count - start
            }
        }
        return UTF8Tail.incomplete(in: pending)
    }

    private mutating func take(_ count: Int) -> String {
        guard count > 0 else { return "" }
        let text = String(decoding: pending.prefix(count), as: UTF8.self)
        pending.removeFirst(count)
        answerBytes += count
        hasText = true
        return text
    }
}

/// The end of a byte stream that may yet become a character.
enum UTF8Tail {
    /// How many of the last bytes are the beginning of a character of which more is to come: 0 to 3. Bytes that can
    /// never become one are not held back.
    static func incomplete(in bytes: some BidirectionalCollection<UInt8>) -> Int {
        let tail = Array(bytes.suffix(3))
        for (offset, byte) in tail.enumerated().reversed() {
            guard byte & 0xC0 != 0x80 else { continue }
            let length =
                switch byte {
                case 0xC2...0xDF: 2
                case 0xE0...0xEF: 3
                case 0xF0...0xF4: 4
                default: 1
                }
            let present = tail.count - offset
            return length > present ? present : 0
        }
        return 0
    }
}
