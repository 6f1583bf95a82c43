import Core
import Testing

@testable import Settings

@Suite struct SettingsMutationTests {
    /// SplitMix64: the same seed gives the same files.
    private struct Seeded: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var z = state
            z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
            z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
            return z ^ z >> 31
        }
    }

    private static let pieces: [String] = [
        "{", "}", "[", "]", ":", ",", "\"", "'", "\\", "\\u", "\\x", "${", "${A}", "}", "//", "/*", "*/", "\n", "\r\n",
        "\u{FEFF}",
        "Infinity", "-NaN", "0x", "1e", "1e999", ".", "null", "models", "keys: [", "é", "\u{2028}", "\u{200D}", "$${",
        "~", "::ffff:1.2.3.4/97",
    ]

    @Test("20,000 damaged files are read or refused, never trapped on", arguments: [UInt64(1), 2, 3, 4])
    func mutations(seed: UInt64) throws {
        let whole = Array(try repositoryFile("config.example.json5").utf8)
        // Most damage goes to the file without its comments, where it does harm.
        let dense = Array(withoutComments(try repositoryFile("config.example.json5")).utf8)
        let surroundings = Surroundings(environment: ["A": "x"], folder: "/etc")
        var random = Seeded(state: seed)
        var accepted = 0
        for round in 0..<5_000 {
            var bytes = round % 20 == 0 ? whole : dense
            for _ in 0..<Int.random(in: 1...3, using: &random) { mutate(&bytes, &random) }
            do throws(SettingsError) {
                _ = try Settings.read((bytes, "f"), flags: Overrides(), surroundings: surroundings)
                accepted += 1
            } catch {
                // Counted, not expected one by one: that would take longer than the reading.
                let isSound =
                    !error.problems.isEmpty && error.problems.count <= Problem.mostShown + 1
                    && error.problems.allSatisfy { !$0.message.isEmpty && ($0.position?.line ?? 1) > 0 }
                if !isSound { Issue.record("seed \(seed), round \(round): \(error)") }
            }
        }
        // Both ways are walked.
        #expect((100...4_900).contains(accepted), "seed \(seed): \(accepted) accepted")
    }

    private func withoutComments(_ text: String) -> String {
        text.split(separator: "\n").map { line in
            line[..<(line.firstRange(of: "//")?.lowerBound ?? line.endIndex)].filter { $0 != " " }
        }
        .joined(separator: "\n")
    }

    private func mutate(_ bytes: inout [UInt8], _ random: inout Seeded) {
        guard !bytes.isEmpty else { return }
        let place = Int.random(in: 0..<bytes.count, using: &random)
        switch Int.random(in: 0..<6, using: &random) {
        case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
        case 1: bytes.remove(at: place)
        case 2: bytes.insert(contentsOf: (Self.pieces.randomElement(using: &random) ?? "").utf8, at: place)
        case 3: bytes.removeSubrange(place..<min(bytes.count, place + Int.random(in: 1...200, using: &random)))
        case 4: bytes.insert(contentsOf: bytes[place..<min(bytes.count, place + 60)], at: place)
        default: bytes.swapAt(place, Int.random(in: 0..<bytes.count, using: &random))
        }
    }
}
