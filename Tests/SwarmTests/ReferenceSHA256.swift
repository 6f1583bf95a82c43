/// SHA-256 written from FIPS 180-4, so that chain hashes are computed here by other code than the one under test.
enum ReferenceSHA256 {
    private static let primes: [UInt64] = {
        var found: [UInt64] = []
        var candidate: UInt64 = 2
        while found.count < 64 {
            if !found.contains(where: { candidate.isMultiple(of: $0) }) { found.append(candidate) }
            candidate += 1
        }
        return found
    }()

    /// The first 32 bits of the fraction of a root of a prime, by integer search.
    private static func fraction(of prime: UInt64, cube: Bool) -> UInt32 {
        func exceeds(_ root: UInt64) -> Bool {
            // root is a fixed-point number with 32 binary digits after the point.
            var product: [UInt32] = [UInt32(truncatingIfNeeded: root), UInt32(truncatingIfNeeded: root >> 32)]
            for _ in 0..<(cube ? 2 : 1) {
                var next = [UInt32](repeating: 0, count: product.count + 2)
                for (i, left) in product.enumerated() {
                    var carry: UInt64 = 0
                    for (j, right) in [UInt32(truncatingIfNeeded: root), UInt32(truncatingIfNeeded: root >> 32)]
                        .enumerated()
                    {
                        let sum = UInt64(left) * UInt64(right) + UInt64(next[i + j]) + carry
                        next[i + j] = UInt32(truncatingIfNeeded: sum)
                        carry = sum >> 32
                    }
                    next[i + 2] = next[i + 2] &+ UInt32(truncatingIfNeeded: carry)
                }
                product = next
            }
            let whole = product.dropFirst(cube ? 3 : 2)
            return (whole.first.map(UInt64.init) ?? 0) >= prime
        }
        var low: UInt64 = 0
        var high: UInt64 = 32 << 32
        while high - low > 1 {
            let middle = (low + high) / 2
            if exceeds(middle) { high = middle } else { low = middle }
        }
        return UInt32(truncatingIfNeeded: low)
    }

    private static let rounds = primes.map { fraction(of: $0, cube: true) }
    private static let start = primes.prefix(8).map { fraction(of: $0, cube: false) }

    static func hash(_ message: [UInt8]) -> [UInt8] {
        var padded = message + [0x80]
        while padded.count % 64 != 56 { padded.append(0) }
        let bits = UInt64(message.count) * 8
        padded += (0..<8).map { UInt8(truncatingIfNeeded: bits >> (56 - 8 * UInt64($0))) }
        func rotated(_ word: UInt32, _ count: UInt32) -> UInt32 { word >> count | word << (32 - count) }

        var state = Array(start)
        for block in stride(from: 0, to: padded.count, by: 64) {
            var words = (0..<16).map { word in
                padded[block + 4 * word..<block + 4 * word + 4].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            }
            for index in 16..<64 {
                let a = words[index - 15]
                let b = words[index - 2]
                let left = rotated(a, 7) ^ rotated(a, 18) ^ a >> 3
                let right = rotated(b, 17) ^ rotated(b, 19) ^ b >> 10
                words.append(words[index - 16] &+ left &+ words[index - 7] &+ right)
            }
            var s = state
            for index in 0..<64 {
                let mix = rotated(s[4], 6) ^ rotated(s[4], 11) ^ rotated(s[4], 25)
                let choice = (s[4] & s[5]) ^ (~s[4] & s[6])
                let first = s[7] &+ mix &+ choice &+ rounds[index] &+ words[index]
                let turn = rotated(s[0], 2) ^ rotated(s[0], 13) ^ rotated(s[0], 22)
                let majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2])
                s = [first &+ turn &+ majority, s[0], s[1], s[2], s[3] &+ first, s[4], s[5], s[6]]
            }
            for index in 0..<8 { state[index] &+= s[index] }
        }
        return state.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> (24 - 8 * UInt32($0))) } }
    }
}
