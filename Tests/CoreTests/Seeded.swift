import Core

/// SplitMix64: the same numbers for the same seed, everywhere.
struct Seeded: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    mutating func below(_ bound: Int) -> Int { Int.random(in: 0..<max(1, bound), using: &self) }
    mutating func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8.random(in: 0...255, using: &self) } }

    mutating func text(_ count: Int) -> String {
        let alphabet: [Character] = [
            "a", "Z", "0", " ", "\"", "\\", "/", "\n", "\t", "\u{1}", "\u{7F}", "ä", "ł", "名", "🎉", "\u{2028}",
        ]
        return String((0..<count).map { _ in alphabet[below(alphabet.count)] })
    }

    mutating func origin() -> Origin {
        Origin(node: NodeID(Bytes16(high: next(), low: next())), epoch: UInt32(truncatingIfNeeded: next()))
    }

    mutating func dot() -> Dot { Dot(origin: origin(), sequence: max(1, next() >> UInt64(below(64)))) }

    mutating func operation() -> Operation {
        Operation(
            dot: dot(), kind: Operation.Kind(rawValue: UInt8(below(256))),
            flags: Operation.Flags(rawValue: UInt8(below(256))), timestamp: HybridTimestamp(rawValue: next()),
            stream: StreamID(Bytes16(high: next(), low: next())), dependencies: (0..<below(4)).map { _ in dot() },
            body: bytes(below(200)))
    }
}
