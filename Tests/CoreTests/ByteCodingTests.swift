import Core
import Testing

@Suite struct ByteCodingTests {
    @Test("A number has one form, the shortest", arguments: [0, 1, 127, 128, 16_383, 16_384, UInt64.max >> 1, .max])
    func varintRoundTrip(value: UInt64) throws {
        var writer = ByteWriter()
        writer.put(varint: value)
        var reader = ByteReader(writer.bytes)
        let read = try reader.varint()
        #expect(read == value)
        #expect(reader.isAtEnd)
        #expect(writer.bytes.count == max(1, (64 - value.leadingZeroBitCount + 6) / 7))
    }

    @Test(
        "Refuses longer forms, more than 64 bits, and an early end",
        arguments: [
            [0x80, 0x00], [0xFF, 0x80, 0x00], [0x80], [], [UInt8](repeating: 0xFF, count: 9) + [0x02],
            [UInt8](repeating: 0x80, count: 10) + [0x01], [UInt8](repeating: 0xFF, count: 20),
        ] as [[UInt8]])
    func varintRefusals(bytes: [UInt8]) {
        #expect {
            var reader = ByteReader(bytes)
            _ = try reader.varint()
        } throws: {
            ($0 as? RuntimeError)?.code == .corrupt
        }
    }

    @Test("A length beyond the bound or the data is refused before anything is read")
    func lengths() {
        var writer = ByteWriter()
        writer.put(varint: .max)
        for bytes in [writer.bytes, [5, 1, 2], [11] + [UInt8](repeating: 0, count: 11)] {
            #expect(throws: RuntimeError.self) {
                var reader = ByteReader(bytes)
                _ = try reader.lengthPrefixed(atMost: 10)
            }
        }
        #expect(throws: RuntimeError.self) {
            var reader = ByteReader([1, 2, 3])
            _ = try reader.raw(-1)
        }
    }

    @Test("Sixteen bytes go to text and back, in either case, and nothing else does")
    func identifiers() {
        let value = Bytes16(high: 0x0123_4567_89AB_CDEF, low: 0xFEDC_BA98_7654_3210)
        #expect(value.description == "0123456789abcdeffedcba9876543210")
        #expect(Bytes16(hex: value.description) == value)
        #expect(Bytes16(hex: value.description.uppercased()) == value)
        #expect(Bytes16(value.bytes) == value)
        for wrong in [
            "", "01", value.description + "00", String(value.description.dropLast()) + "g",
            "é" + value.description.dropFirst(2),
        ] {
            #expect(Bytes16(hex: wrong) == nil)
        }
        #expect(Bytes16([UInt8](repeating: 1, count: 15)) == nil)
        #expect([UInt8](hex: "0") == nil)
    }

    @Test("Identifiers order as their bytes do")
    func order() {
        var random = Seeded(9)
        for _ in 0..<1_000 {
            let left = Bytes16(high: random.next() >> 60, low: random.next())
            let right = Bytes16(high: random.next() >> 60, low: random.next())
            #expect((left < right) == left.bytes.lexicographicallyPrecedes(right.bytes))
        }
    }
}
