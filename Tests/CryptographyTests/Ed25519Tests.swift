import Cryptography
import Testing

@Suite struct Ed25519Tests {
    struct Vector: Sendable {
        var seed: String
        var publicKey: String
        var message: String
        var signature: String
    }

    /// RFC 8032, section 7.1, tests 1 to 3.
    static let vectors = [
        Vector(
            seed: "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            publicKey: "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", message: "",
            signature: """
                e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155
                5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b
                """),
        Vector(
            seed: "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            publicKey: "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", message: "72",
            signature: """
                92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da
                085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00
                """),
        Vector(
            seed: "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            publicKey: "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", message: "af82",
            signature: """
                6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac
                18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a
                """),
    ]

    @Test("The published signatures are met and verified", arguments: vectors)
    func vectorsAreMet(vector: Vector) throws {
        let key = try Ed25519.PrivateKey(seed: SymmetricKey(bytes(vector.seed)))
        #expect(key.publicKey.bytes == bytes(vector.publicKey))
        #expect(try key.sign(bytes(vector.message)) == bytes(vector.signature))
        #expect(key.publicKey.verify(bytes(vector.signature), of: bytes(vector.message)))
    }

    @Test("A stored seed gives the same pair")
    func seedRoundTrip() throws {
        let key = try Ed25519.PrivateKey()
        let again = try Ed25519.PrivateKey(seed: key.seed())
        #expect(again.publicKey == key.publicKey)
        #expect(try key.publicKey.verify(again.sign([1, 2, 3]), of: [1, 2, 3]))
    }

    @Test("Another message, key, or any flipped bit of the signature is refused")
    func wrongSignatures() throws {
        let key = try Ed25519.PrivateKey()
        let signature = try key.sign([1, 2, 3])
        #expect(!key.publicKey.verify(signature, of: [1, 2, 4]))
        #expect(try !Ed25519.PrivateKey().publicKey.verify(signature, of: [1, 2, 3]))
        #expect(!key.publicKey.verify(Array(signature.dropLast()), of: [1, 2, 3]))
        for bit in 0..<signature.count * 8 {
            var damaged = signature
            damaged[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(!key.publicKey.verify(damaged, of: [1, 2, 3]))
        }
    }

    @Test("Keys of another length are refused", arguments: [0, 31, 33])
    func wrongLengths(count: Int) {
        let bytes = [UInt8](repeating: 9, count: count)
        #expect(throws: CryptographyError.invalidLength(of: "an Ed25519 key")) {
            try Ed25519.PrivateKey(seed: SymmetricKey(bytes))
        }
        #expect(throws: CryptographyError.invalidLength(of: "an Ed25519 public key")) {
            try Ed25519.PublicKey(bytes)
        }
    }
}
