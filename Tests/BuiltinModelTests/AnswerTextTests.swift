import Testing

@testable import BuiltinModel

@Suite("Text of an answer")
struct AnswerTextTests {
    /// Feeds bytes one at a time.
    private func pieces(_ bytes: [UInt8], stop: [String] = []) -> (shown: [String], last: String, isStopped: Bool) {
        var text = AnswerText(stop: stop)
        let shown = bytes.map { text.append($0) }.filter { !$0.isEmpty }
        return (shown, text.finish(), text.isStopped)
    }

    @Test("A character comes out whole, when its last byte is there")
    func characters() {
        #expect(pieces(Array("aż€🙂".utf8)).shown == ["a", "ż", "€", "🙂"])
        var text = AnswerText(stop: [])
        #expect(text.append(0xF0) + text.append(0x9F) + text.append(0x99) == "")
        #expect(text.append(0x82) == "🙂")
    }

    @Test(
        "What is not UTF-8 becomes U+FFFD",
        arguments: [
            ([0xFF, 0x61], "\u{FFFD}a"), ([0x80], "\u{FFFD}"), ([0xC3, 0x28], "\u{FFFD}("),
            ([0xE2, 0x82], ""), ([0x61, 0xF0, 0x9F], "a"), ([0xED, 0xA0, 0x80], "\u{FFFD}\u{FFFD}\u{FFFD}"),
            ([0xC0, 0xAF], "\u{FFFD}\u{FFFD}"),
        ] as [([UInt8], String)])
    func invalid(bytes: [UInt8], expected: String) {
        let (shown, last, _) = pieces(bytes)
        #expect(shown.joined() + last == expected)
    }

    @Test("Random bytes give what decoding them at once gives", arguments: 1...20 as ClosedRange<UInt64>)
    func randomBytes(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let leads: [UInt8] = [0x41, 0x80, 0xBF, 0xC3, 0xE0, 0xE2, 0xED, 0xF0, 0xF4, 0xF5, 0xFF, 0x9F, 0xA0, 0x90]
        let bytes = (0..<400).map { _ in leads.randomElement(using: &random) ?? 0 } + [0x41]
        let (shown, last, _) = pieces(bytes)
        #expect(shown.joined() + last == String(decoding: bytes, as: UTF8.self), "seed \(seed)")
        // The same with a stop string that never comes.
        let held = pieces(bytes, stop: ["A\u{FFFD}A\u{FFFD}never"])
        #expect(held.shown.joined() + held.last == String(decoding: bytes, as: UTF8.self), "seed \(seed)")
    }

    @Test(
        "A stop string ends the answer and is not shown, nor is any part of it before",
        arguments: [
            ("one two three", ["two"], "one ", true), ("one two three", ["two", "one"], "", true),
            ("aab", ["ab"], "a", true), ("ababac", ["abac"], "ab", true), ("abc", ["abcd"], "abc", false),
            ("naïve ☕ café", ["☕ c"], "naïve ", true), ("x\n\ny", ["\n\n"], "x", true),
            ("ab", ["b", "ab"], "", true), ("nothing", ["else"], "nothing", false),
        ] as [(String, [String], String, Bool)])
    func stops(text: String, stop: [String], expected: String, isStopped: Bool) {
        var answer = AnswerText(stop: stop)
        var shown = ""
        for byte in text.utf8 {
            shown += answer.append(byte)
            #expect(expected.hasPrefix(shown), "\(shown) was shown too early")
        }
        shown += answer.finish()
        #expect(shown == expected)
        #expect(answer.isStopped == isStopped)
    }
}
