import Core
import Testing

@testable import Engine

@Suite("The output of llama-completion")
struct CompletionOutputTests {
    private static let marker = "\u{1E}abc\u{1E}"

    /// Text and end of an output that arrives in pieces of random length.
    private func read(
        _ bytes: [UInt8], stop: [String] = [], seed: UInt64
    ) -> (text: String, end: CompletionOutput.End?, pieces: [String]) {
        var random = SeededGenerator(seed: seed)
        var output = CompletionOutput(marker: Self.marker, stop: stop)
        var pieces: [String] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = Int.random(in: 1...min(rest.count, 7), using: &random)
            pieces.append(output.append(Array(rest.prefix(count))))
            rest = rest.dropFirst(count)
        }
        return (pieces.joined(), output.end, pieces)
    }

    @Test(
        "is the same however it is cut into pieces",
        arguments: [
            ("Your name is Alice\n" + marker, [], "Your name is Alice", CompletionOutput.End.turn),
            ("I wil" + marker, [], "I wil", .limit),
            ("\n" + marker, [], "", .turn),
            ("Zürich ✓ 🙂 日本\n\n" + marker, [], "Zürich ✓ 🙂 日本\n", .turn),
            ("a \u{1E}ab is no marker\n" + marker, [], "a \u{1E}ab is no marker", .turn),
            ("one STOP two\n" + marker, ["STOP"], "one ", .stopString),
            ("one STAR STOSTOP two", ["STOP", "NEVER"], "one STAR STO", .stopString),
            ("line\n\nline\n" + marker, ["\n\n"], "line", .stopString),
            ("grün✓ rot\n" + marker, ["✓"], "grün", .stopString),
            ("> quoted\n> more\n" + marker + "EOF by user\n\n\n", [], "> quoted\n> more", .turn),
        ] as [(String, [String], String, CompletionOutput.End)])
    func pieces(output: String, stop: [String], text: String, end: CompletionOutput.End) {
        for seed in 0..<50 {
            let result = read(Array(output.utf8), stop: stop, seed: UInt64(seed))
            #expect(result.text == text, "seed \(seed)")
            #expect(result.end == end, "seed \(seed)")
            #expect(!result.pieces.contains { $0.contains("\u{FFFD}") }, "seed \(seed)")
        }
    }

    @Test("gives text out as soon as it is certain")
    func promptness() {
        var output = CompletionOutput(marker: Self.marker, stop: ["STOP"])
        #expect(output.append(Array("Hello S".utf8)) == "Hello ")
        #expect(output.append(Array("T".utf8)) == "")
        #expect(output.append(Array("A".utf8)) == "STA")
        #expect(output.append([0xC3]) == "")
        #expect(output.append([0xBC]) == "ü")
    }

    @Test("repairs what is no UTF-8, the same in every cut")
    func invalidBytes() {
        var random = SeededGenerator(seed: 4711)
        for round in 0..<200 {
            let bytes = (0..<40).map { _ in UInt8.random(in: 1...255, using: &random) }.filter {
                $0 != 0x1E && $0 != 0x0A
            }
            let whole = String(decoding: bytes, as: UTF8.self)
            let result = read(bytes + Array(Self.marker.utf8), seed: UInt64(round))
            #expect(result.text == whole, "round \(round)")
        }
    }

    @Test("without a marker ends where the context was full")
    func fullContext() {
        var output = CompletionOutput(marker: Self.marker, stop: [])
        var text = output.append(Array("to the brim\n\n".utf8))
        text += output.finishWithoutMarker()
        #expect(text == "to the brim")
        #expect(output.end == .limit)
    }
}

/// SplitMix64: small, and the same everywhere.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}
