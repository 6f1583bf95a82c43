import Testing

@testable import Cryptography

@Suite struct AESGCMTests {
    struct Vector: Sendable {
        var key: String
        var nonce: String
        var plaintext = ""
        var aad = ""
        var ciphertext = ""
        var tag: String
    }

    /// Test cases 13, 14 and 16 of the GCM submission to NIST (McGrew and Viega, 2005).
    static let vectors = [
        Vector(
            key: String(repeating: "00", count: 32), nonce: String(repeating: "00", count: 12),
            tag: "530f8afbc74536b9a963b4f1c4cb738b"),
        Vector(
            key: String(repeating: "00", count: 32), nonce: String(repeating: "00", count: 12),
            plaintext: String(repeating: "00", count: 16), ciphertext: "cea7403d4d606b6e074ec5d3baf39d18",
            tag: "d0d1c8a799996bf0265b98b5d48ab919"),
        Vector(
            key: "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", nonce: "cafebabefacedbaddecaf888",
            plaintext: """
                d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72
                1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39
                """,
            aad: "feedfacedeadbeeffeedfacedeadbeefabaddad2",
            ciphertext: """
                522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa
                8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662
                """,
            tag: "76fc6ece0f4e1768cddf8853bb2d551b"),
    ]

    @Test("The published vectors are met, both ways", arguments: vectors)
    func vectorsAreMet(vector: Vector) throws {
        let key = SymmetricKey(bytes(vector.key))
        let sealed = try AESGCM.seal(
            bytes(vector.plaintext), key: key, aad: bytes(vector.aad), nonce: bytes(vector.nonce))
        #expect(sealed == bytes(vector.nonce) + bytes(vector.ciphertext) + bytes(vector.tag))
        #expect(try AESGCM.open(sealed, key: key, aad: bytes(vector.aad)) == bytes(vector.plaintext))
    }

    @Test("What is sealed opens again, whatever its size", arguments: [0, 1, 15, 16, 17, 1024, 100_000])
    func roundTrip(size: Int) throws {
        let key = try SymmetricKey(random: 32)
        let plaintext = try SecureRandom.bytes(size)
        let sealed = try AESGCM.seal(plaintext, key: key, aad: [1, 2, 3])
        #expect(sealed.count == size + AESGCM.overhead)
        #expect(try AESGCM.open(sealed, key: key, aad: [1, 2, 3]) == plaintext)
    }

    @Test("A flipped bit anywhere is refused")
    func flippedBits() throws {
        let key = try SymmetricKey(random: 32)
        let sealed = try AESGCM.seal(Array("my name is Alice".utf8), key: key, aad: [7])
        for bit in 0..<sealed.count * 8 {
            var damaged = sealed
            damaged[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(throws: CryptographyError.authenticationFailed) { try AESGCM.open(damaged, key: key, aad: [7]) }
        }
    }

    @Test("Another key or other associated data is refused")
    func wrongPlace() throws {
        let key = try SymmetricKey(random: 32)
        let sealed = try AESGCM.seal([1, 2, 3], key: key, aad: [7])
        let other = try SymmetricKey(random: 32)
        #expect(throws: CryptographyError.authenticationFailed) { try AESGCM.open(sealed, key: other, aad: [7]) }
        #expect(throws: CryptographyError.authenticationFailed) { try AESGCM.open(sealed, key: key, aad: [8]) }
        #expect(throws: CryptographyError.authenticationFailed) { try AESGCM.open(sealed, key: key) }
    }

    @Test("A record cut short is refused by its length or by its tag")
    func shortRecords() throws {
        let key = try SymmetricKey(random: 32)
        let sealed = try AESGCM.seal([1, 2, 3], key: key)
        for count in 0..<sealed.count {
            #expect(throws: CryptographyError.self) { try AESGCM.open(Array(sealed.prefix(count)), key: key) }
        }
    }

    @Test("A key of another length is refused", arguments: [0, 16, 31, 33])
    func wrongKeyLength(count: Int) {
        let key = SymmetricKey([UInt8](repeating: 1, count: count))
        #expect(throws: CryptographyError.invalidLength(of: "an AES-256 key")) { try AESGCM.seal([], key: key) }
        #expect(throws: CryptographyError.invalidLength(of: "an AES-256 key")) {
            try AESGCM.open([UInt8](repeating: 0, count: 28), key: key)
        }
    }

    @Test("Two records of one text share no nonce")
    func noncesDiffer() throws {
        let key = try SymmetricKey(random: 32)
        let nonces = try (0..<1000).map { _ in try AESGCM.seal([1], key: key).prefix(AESGCM.nonceBytes) }
        #expect(Set(nonces).count == 1000)
    }
}
