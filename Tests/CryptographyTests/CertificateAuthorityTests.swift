import Cryptography
import Testing

@Suite struct CertificateAuthorityTests {
    let authority: CertificateAuthority
    let host: Ed25519.PrivateKey

    init() throws {
        authority = try CertificateAuthority(seed: SymmetricKey([UInt8](repeating: 7, count: 32)))
        host = try Ed25519.PrivateKey(seed: SymmetricKey([UInt8](repeating: 9, count: 32)))
    }

    private func other() throws -> CertificateAuthority {
        try CertificateAuthority(seed: SymmetricKey([UInt8](repeating: 8, count: 32)))
    }

    @Test("The same seed makes the same authority and the same leaf, byte for byte")
    func sameSeedSameBytes() throws {
        let again = try CertificateAuthority(seed: SymmetricKey([UInt8](repeating: 7, count: 32)))
        #expect(again.certificate == authority.certificate)
        #expect(
            try again.issueLeaf(for: host.publicKey, name: "a") == authority.issueLeaf(for: host.publicKey, name: "a"))
        #expect(try other().certificate != authority.certificate)
    }

    @Test("A leaf speaks for the key it was issued for")
    func leafSpeaksForItsKey() throws {
        let leaf = try authority.issueLeaf(for: host.publicKey, name: "host")
        #expect(authority.publicKey(ofLeaf: leaf) == host.publicKey)
        #expect(CertificateAuthority.isFromSomeSwarm(leaf))
    }

    @Test("A leaf of another swarm is none of this one, though it looks like one")
    func foreignLeafIsRefused() throws {
        let leaf = try other().issueLeaf(for: host.publicKey, name: "host")
        #expect(authority.publicKey(ofLeaf: leaf) == nil)
        #expect(CertificateAuthority.isFromSomeSwarm(leaf))
    }

    @Test("An authority's own certificate is no leaf")
    func authorityIsNoLeaf() {
        #expect(authority.publicKey(ofLeaf: authority.certificate) == nil)
    }

    @Test("A leaf of which any byte was changed, cut off or added speaks for nobody else")
    func changedLeafIsRefused() throws {
        let leaf = try authority.issueLeaf(for: host.publicKey, name: "host")
        for index in leaf.indices {
            var changed = leaf
            changed[index] ^= 1
            #expect(authority.publicKey(ofLeaf: changed) == nil, "byte \(index)")
            #expect(authority.publicKey(ofLeaf: Array(leaf.prefix(index))) == nil, "\(index) bytes")
        }
        #expect(authority.publicKey(ofLeaf: leaf + [0]) == nil)
        #expect(authority.publicKey(ofLeaf: []) == nil)
        #expect(!CertificateAuthority.isFromSomeSwarm([0x30, 0x80]))
    }

    @Test("A seed of another length is refused")
    func lengthIsChecked() {
        #expect(throws: CryptographyError.self) { try CertificateAuthority(seed: SymmetricKey([1, 2, 3])) }
    }
}
