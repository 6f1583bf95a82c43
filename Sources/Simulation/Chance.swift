import Swarm

/// One stream of chance of the world. Each part of the world has its own, so that a draw more in one does not change
/// what happens in another.
struct Chance {
    private var generator: SplitMix64

    init(seed: UInt64, stream: UInt64) {
        var mixer = SplitMix64(seed: seed &* 0x9E37_79B9_7F4A_7C15 ^ stream &* 0xD1B5_4A32_D192_ED03)
        generator = SplitMix64(seed: mixer.next())
    }

    /// A seed for a machine.
    mutating func seed() -> UInt64 { generator.next() }

    mutating func below(_ bound: Int) -> Int { bound <= 1 ? 0 : Int.random(in: 0..<bound, using: &generator) }

    /// True in `numerator` of `denominator` cases.
    mutating func hits(_ numerator: Int, of denominator: Int) -> Bool { below(denominator) < numerator }

    mutating func between(_ low: Duration, _ high: Duration) -> Duration {
        low + .microseconds(below(max(1, Self.microseconds(high - low))))
    }

    /// Whole ones; `Duration`'s own division takes a hundred times as long.
    private static func microseconds(_ duration: Duration) -> Int {
        let (seconds, attoseconds) = duration.components
        return Int(seconds) * 1_000_000 + Int(attoseconds / 1_000_000_000_000)
    }

    /// Mostly near `typical`, at times many times as long: what networks and disks do.
    mutating func tailed(_ typical: Duration) -> Duration {
        let microseconds = Self.microseconds(typical)
        var value = Duration.microseconds(microseconds / 2 + below(max(1, microseconds)))
        // A tenth of the draws doubles, a tenth of these again, …
        for _ in 0..<6 where hits(1, of: 10) { value += value }
        return value
    }

    mutating func pick<Element>(_ elements: [Element]) -> Element? {
        elements.isEmpty ? nil : elements[below(elements.count)]
    }

    mutating func shuffled<Element>(_ elements: [Element]) -> [Element] { elements.shuffled(using: &generator) }

    mutating func bytes(_ count: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        while bytes.count < count {
            let word = generator.next()
            for shift in 0..<8 where bytes.count < count {
                bytes.append(UInt8(truncatingIfNeeded: word >> (8 * shift)))
            }
        }
        return bytes
    }
}
