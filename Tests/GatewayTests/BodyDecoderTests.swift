import Core
import Testing

@testable import Gateway

@Suite struct BodyDecoderTests {
    /// `{"a":"hello hello hello"}`, packed by gzip -9 and zstd -19.
    static let text = #"{"a":"hello hello hello"}"#
    static let packed: [(coding: String, hex: String)] = [
        ("gzip", "1f8b0800000000000203ab564a54b252ca48cdc9c9574022956a0143b05cb919000000"),
        ("zstd", "28b52ffd0468a50000707b2261223a2268656c6c6f20227d0100314a128942142b"),
    ]
    /// Very many zeros.
    static let bombs: [(coding: String, hex: String)] = [
        (
            "gzip",
            "1f8b0800000000000203edc13101000000c2a04aeb9fce1a1e40010000000000000000000000000000000000000000000000"
                + "00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000af0685c24dc5a0860100"
        ),
        (
            "zstd",
            "28b52ffd04684c000008300100fcff39100202001030020010300200103002001030020010300200103003120a3024c163e9"
        ),
    ]

    private static func decode(_ coding: String, _ bytes: [UInt8], limit: Int = 1 << 20) throws -> [UInt8] {
        try BodyDecoder(coding).decode(bytes, limit: limit)
    }

    @Test("what was packed comes out as it was", arguments: packed.indices)
    func unpacked(_ index: Int) throws {
        let (coding, hex) = Self.packed[index]
        let bytes = try #require([UInt8](hex: hex))
        #expect(String(decoding: try Self.decode(coding, bytes), as: UTF8.self) == Self.text)
        #expect(try Self.decode("identity", bytes) == bytes)
    }

    @Test("what is cut off, followed by something, or changed is refused", arguments: packed.indices)
    func broken(_ index: Int) throws {
        let (coding, hex) = Self.packed[index]
        let bytes = try #require([UInt8](hex: hex))
        var wrong = (0..<bytes.count).map { Array(bytes.prefix($0)) }
        wrong.append(bytes + [0])
        wrong.append(bytes + Array("{}".utf8))
        for bytes in wrong {
            let error = #expect(throws: RuntimeError.self) { try Self.decode(coding, bytes) }
            #expect(error?.code == .invalidRequest)
        }
        // Changed bytes may by chance say something; they must not trap.
        for place in bytes.indices {
            var changed = bytes
            changed[place] ^= 0xFF
            _ = try? Self.decode(coding, changed)
        }
    }

    @Test("a bomb is refused at its bound", arguments: bombs.indices)
    func bomb(_ index: Int) throws {
        let (coding, hex) = Self.bombs[index]
        let bytes = try #require([UInt8](hex: hex))
        let error = #expect(throws: RuntimeError.self) { try Self.decode(coding, bytes, limit: 1 << 30) }
        #expect(error?.code == .tooLarge)
        #expect(throws: RuntimeError.self) {
            try Self.decode(coding, try #require([UInt8](hex: Self.packed[index].hex)), limit: 5)
        }
    }

    @Test("other encodings are refused by their name", arguments: ["br", "deflate", "gzip, gzip", ""])
    func unknown(_ coding: String) {
        let error = #expect(throws: APIError.self) { try BodyDecoder(coding) }
        #expect(error?.status == 415)
    }
}
