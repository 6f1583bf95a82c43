import Cryptography
import Testing

@Suite struct KeyDerivationTests {
    /// RFC 5869, cases 1 and 3.
    @Test(
        "HKDF meets the published keys",
        arguments: [
            (
                "000102030405060708090a0b0c", "f0f1f2f3f4f5f6f7f8f9",
                "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
            ),
            ("", "", "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"),
        ])
    func hkdf(salt: String, info: String, output: String) throws {
        let key = SymmetricKey([UInt8](repeating: 0x0b, count: 22))
        let derived = try HKDF.derive(key: key, salt: bytes(salt), info: bytes(info), count: 42)
        #expect(derived.reveal() == bytes(output))
    }

    @Test("HKDF gives other keys for other labels, and refuses what it cannot fill", arguments: [0, -1, 8161])
    func hkdfBounds(count: Int) throws {
        let key = try SymmetricKey(random: 32)
        #expect(try HKDF.derive(key: key, label: "a").reveal() != HKDF.derive(key: key, label: "b").reveal())
        #expect(throws: CryptographyError.invalidLength(of: "a derived key")) {
            try HKDF.derive(key: key, salt: [], info: [], count: count)
        }
    }

    /// RFC 7914, section 12.
    @Test(
        "scrypt meets the published keys",
        arguments: [
            (
                "", "", UInt64(16), UInt64(1), UInt64(1),
                """
                77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442
                fcd0069ded0948f8326a753a0fc81f17e8d3e0fb2e0d3628cf35e20c38d18906
                """
            ),
            (
                "password", "NaCl", 1024, 8, 16,
                """
                fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162
                2eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640
                """
            ),
        ])
    func scrypt(
        password: String, salt: String, cost: UInt64, blockSize: UInt64, parallelism: UInt64, output: String
    ) throws {
        let derived = try Scrypt.derive(
            password: Array(password.utf8), salt: Array(salt.utf8), cost: cost, blockSize: blockSize,
            parallelism: parallelism, count: 64)
        #expect(derived.reveal() == bytes(output))
    }

    @Test("The default cost fits the library's memory bound")
    func scryptDefault() throws {
        let derived = try Scrypt.derive(password: Array("correct horse battery".utf8), salt: [1])
        #expect(derived.count == 32)
    }

    @Test("No way of printing a key shows it")
    func keysAreNotPrinted() throws {
        let key = SymmetricKey(Array("0123456789abcdef0123456789abcdef".utf8))
        let pair = try Ed25519.PrivateKey(seed: key)
        var dumped = ""
        dump(key, to: &dumped)
        for text in ["\(key)", String(reflecting: key), "\(pair)", String(reflecting: pair), "\([key])", dumped] {
            #expect(text.contains("<key>"))
            #expect(!text.contains("0123") && !text.contains("48"))
        }
    }
}
