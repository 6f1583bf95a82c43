import Cryptography
import Testing

@Suite struct ServerCertificateTests {
    private static func key(_ number: UInt8) throws -> ServerKey {
        try ServerKey(seed: SymmetricKey([UInt8](repeating: number, count: 32)))
    }

    @Test("the same seed gives the same key, another seed another")
    func keys() throws {
        #expect(try Self.key(1).pkcs8.reveal() == Self.key(1).pkcs8.reveal())
        #expect(try Self.key(1).pkcs8.reveal() != Self.key(2).pkcs8.reveal())
    }

    @Test("a certificate says what it was made with, and its key has the same pin in the next one")
    func facts() throws {
        let key = try Self.key(1)
        let made = try (1...2).map {
            try ServerCertificate.selfSigned(
                key, serial: $0, names: ["host.example", "localhost"], addresses: ["127.0.0.1", "fe80::1"],
                from: 1_000_000, until: 2_000_000_000)
        }
        let facts = try made.map { try #require(CertificateFacts(der: $0)) }
        #expect(facts[0].subject == "CN=host.example" && facts[0].commonName == "host.example")
        #expect(facts[0].isSelfIssued)
        #expect(facts[0].notBefore == 1_000_000 && facts[0].notAfter == 2_000_000_000)
        #expect(facts[0].fingerprint.count == 64 && facts[0].fingerprint != facts[1].fingerprint)
        #expect(facts[0].keyPin == facts[1].keyPin && facts[0].keyPin.count == 44)
    }

    @Test("bytes that are no certificate say nothing")
    func rubbish() throws {
        let made = try ServerCertificate.selfSigned(
            try Self.key(1), serial: 1, names: ["a"], addresses: [], from: 0, until: 10)
        #expect(CertificateFacts(der: []) == nil)
        #expect(CertificateFacts(der: Array(made.dropLast())) == nil)
        #expect(CertificateFacts(der: made + [0]) == nil)
    }

    @Test("PEM has lines of 64")
    func text() {
        let text = CertificateFacts.pem([UInt8](repeating: 0, count: 96))
        #expect(
            text == "-----BEGIN CERTIFICATE-----\n"
                + String(repeating: String(repeating: "A", count: 64) + "\n", count: 2)
                + "-----END CERTIFICATE-----\n")
    }
}
