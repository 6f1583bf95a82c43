import Cryptography
import Testing

@Suite struct DigestTests {
    /// FIPS 180-4 examples.
    @Test(
        "SHA-256 meets the published digests",
        arguments: [
            ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
            ),
        ])
    func sha256(message: String, digest: String) {
        #expect(SHA256.hash(Array(message.utf8)) == bytes(digest))
    }

    @Test("Pieces give the digest of the whole")
    func incremental() {
        var generator = SeededGenerator(seed: 7)
        let message = (0..<5000).map { _ in UInt8.random(in: 0...255, using: &generator) }
        for _ in 0..<50 {
            var hash = SHA256()
            var rest = message[...]
            while !rest.isEmpty {
                let count = Int.random(in: 0...min(700, rest.count), using: &generator)
                hash.update(Array(rest.prefix(count)))
                rest = rest.dropFirst(count)
            }
            #expect(hash.finish() == SHA256.hash(message))
        }
    }

    /// RFC 4231, cases 1, 2 and 6.
    @Test(
        "HMAC meets the published codes",
        arguments: [
            (
                [UInt8](repeating: 0x0b, count: 20), "Hi There",
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
            ),
            (
                Array("Jefe".utf8), "what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
            ),
            (
                [UInt8](repeating: 0xaa, count: 131), "Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
            ),
        ])
    func hmac(key: [UInt8], message: String, code: String) {
        let message = Array(message.utf8)
        #expect(HMACSHA256.authenticate(message, key: SymmetricKey(key)) == bytes(code))
        #expect(HMACSHA256.isValid(bytes(code), for: message, key: SymmetricKey(key)))
        #expect(!HMACSHA256.isValid(bytes(code), for: message + [0], key: SymmetricKey(key)))
        #expect(!HMACSHA256.isValid(Array(bytes(code).dropLast()), for: message, key: SymmetricKey(key)))
    }

    @Test("An empty key is a key like any other, not the last one used")
    func emptyKey() {
        let empty = bytes("b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad")
        _ = HMACSHA256.authenticate([], key: SymmetricKey([1, 2, 3]))
        #expect(HMACSHA256.authenticate([], key: SymmetricKey([])) == empty)
    }

    @Test("Comparison in constant time tells equal from unequal")
    func constantTime() {
        #expect(ConstantTime.equals([], []))
        #expect(ConstantTime.equals([1, 2], [1, 2]))
        #expect(!ConstantTime.equals([1, 2], [1, 3]))
        #expect(!ConstantTime.equals([1, 2], [1, 2, 3]))
    }
}
