/// Appends binary values. Fixed-width numbers are big-endian, varints LEB128.
package struct ByteWriter: Sendable {
    package private(set) var bytes: [UInt8] = []

    package init() {}

    package mutating func reserve(_ count: Int) { bytes.reserveCapacity(count) }
    package mutating func put(_ byte: UInt8) { bytes.append(byte) }
    package mutating func put(raw: [UInt8]) { bytes.append(contentsOf: raw) }
    package mutating func put(_ value: Bytes16) {
        put(bigEndian: value.high)
        put(bigEndian: value.low)
    }

    package mutating func put(bigEndian value: some FixedWidthInteger) {
        withUnsafeBytes(of: value.bigEndian) { bytes.append(contentsOf: $0) }
    }

    package mutating func put(varint value: UInt64) {
        var rest = value
        while rest > 0x7F {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(truncatingIfNeeded: rest))
    }

    package mutating func put(lengthPrefixed value: some Collection<UInt8>) {
        put(varint: UInt64(value.count))
        bytes.append(contentsOf: value)
    }
}

/// Reads what ``ByteWriter`` wrote. Every call checks the bounds and throws ``RuntimeError`` `.corrupt` past the end.
package struct ByteReader: Sendable {
    private let source: [UInt8]
    private var position = 0

    package init(_ bytes: [UInt8]) { source = bytes }

    package var isAtEnd: Bool { position == source.count }

    package mutating func byte() throws(RuntimeError) -> UInt8 {
        guard position < source.count else { throw Self.short }
        defer { position += 1 }
        return source[position]
    }

    package mutating func raw(_ count: Int) throws(RuntimeError) -> [UInt8] {
        guard count >= 0, count <= source.count - position else { throw Self.short }
        defer { position += count }
        return Array(source[position..<position + count])
    }

    package mutating func bigEndian32() throws(RuntimeError) -> UInt32 {
        UInt32(truncatingIfNeeded: try bigEndian(bytes: 4))
    }

    package mutating func bigEndian64() throws(RuntimeError) -> UInt64 {
        try bigEndian(bytes: 8)
    }

    private mutating func bigEndian(bytes count: Int) throws(RuntimeError) -> UInt64 {
        guard count <= source.count - position else { throw Self.short }
        var value: UInt64 = 0
        for place in position..<position + count { value = value << 8 | UInt64(source[place]) }
        position += count
        return value
    }

    package mutating func bytes16() throws(RuntimeError) -> Bytes16 {
        let high = try bigEndian64()
        return Bytes16(high: high, low: try bigEndian64())
    }

    /// Refuses more than 64 bits and forms longer than need be, so that every value has one encoding.
    package mutating func varint() throws(RuntimeError) -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while true {
            let next = try byte()
            if shift == 63, next > 1 { throw RuntimeError(.corrupt, "a number is longer than 64 bits") }
            value |= UInt64(next & 0x7F) << shift
            if next < 0x80 {
                if next == 0, shift > 0 { throw RuntimeError(.corrupt, "a number has a longer form than it needs") }
                return value
            }
            shift += 7
            if shift > 63 { throw RuntimeError(.corrupt, "a number is longer than 64 bits") }
        }
    }

    package mutating func lengthPrefixed(atMost limit: Int) throws(RuntimeError) -> [UInt8] {
        let count = try varint()
        guard count <= UInt64(limit) else {
            throw RuntimeError(.corrupt, "a field of \(count) bytes is longer than the \(limit) allowed")
        }
        return try raw(Int(count))
    }

    /// All that follows.
    package mutating func rest() -> [UInt8] {
        defer { position = source.count }
        return Array(source[position...])
    }

    package func expectEnd() throws(RuntimeError) {
        guard isAtEnd else { throw RuntimeError(.corrupt, "\(source.count - position) bytes follow the end") }
    }

    private static var short: RuntimeError { RuntimeError(.corrupt, "the data ends early") }
}
