/// Sixteen bytes held inline: the shape of every fixed-size identifier here.
package struct Bytes16: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// Big-endian halves, so that `<` orders as the bytes do.
    package let high: UInt64
    package let low: UInt64

    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// The first sixteen bytes of `bytes`; nil when there are fewer.
    package init?(_ bytes: some Sequence<UInt8>) {
        var high: UInt64 = 0
        var low: UInt64 = 0
        var count = 0
        for byte in bytes.prefix(16) {
            if count < 8 { high = high << 8 | UInt64(byte) } else { low = low << 8 | UInt64(byte) }
            count += 1
        }
        guard count == 16 else { return nil }
        self.init(high: high, low: low)
    }

    /// The same of an array, which most are: without a generic sequence's detours.
    package init?(_ bytes: [UInt8]) {
        guard bytes.count >= 16 else { return nil }
        var (high, low) = (UInt64(0), UInt64(0))
        for place in 0..<8 {
            high = high << 8 | UInt64(bytes[place])
            low = low << 8 | UInt64(bytes[place + 8])
        }
        self.init(high: high, low: low)
    }

    /// Exactly 32 hexadecimal digits, either case.
    package init?(hex: some StringProtocol) {
        guard let bytes = [UInt8](hex: hex), bytes.count == 16 else { return nil }
        self.init(bytes)
    }

    package var bytes: [UInt8] {
        withUnsafeBytes(of: (high.bigEndian, low.bigEndian)) { Array($0) }
    }

    package var description: String { bytes.hex }
    package static func < (left: Bytes16, right: Bytes16) -> Bool {
        (left.high, left.low) < (right.high, right.low)
    }
}

extension Sequence<UInt8> {
    /// Lower-case hexadecimal digits.
    package var hex: String {
        func digit(_ half: UInt8) -> UInt8 { half < 10 ? 48 + half : 87 + half }
        let bytes = Array(self)
        return String(unsafeUninitializedCapacity: 2 * bytes.count) { text in
            for (index, byte) in bytes.enumerated() {
                text[2 * index] = digit(byte >> 4)
                text[2 * index + 1] = digit(byte & 15)
            }
            return 2 * bytes.count
        }
    }
}

extension [UInt8] {
    /// Nil unless `hex` is an even number of hexadecimal digits.
    package init?(hex: some StringProtocol) {
        guard hex.utf8.count.isMultiple(of: 2) else { return nil }
        var bytes: [UInt8] = []
        var pending: UInt8?
        for character in hex.utf8 {
            let digit: UInt8
            switch character {
            case 48...57: digit = character - 48
            case 65...70: digit = character - 55
            case 97...102: digit = character - 87
            default: return nil
            }
            if let first = pending {
                bytes.append(first << 4 | digit)
                pending = nil
            } else {
                pending = digit
            }
        }
        self = bytes
    }
}
