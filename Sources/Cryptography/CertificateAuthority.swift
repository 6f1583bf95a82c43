import COpenSSL

/// The authority of one swarm: an Ed25519 key derived from the swarm's key, so that every host that holds the one
/// holds the other (swarm.md §11). Same seed, same certificate, byte for byte. Nothing it issues expires: the clocks of
/// a LAN may be wild, and a swarm is left by changing its key.
package struct CertificateAuthority: Sendable {
    package static let seedBytes = 32

    private let key: Ed25519.PrivateKey
    /// Its own certificate, DER.
    package let certificate: [UInt8]

    package init(seed: SymmetricKey) throws(CryptographyError) {
        key = try Ed25519.PrivateKey(seed: seed)
        certificate = try Certificate.issue(
            CertificateContent(
                subject: Self.name, issuer: Self.name, serial: 1, publicKey: key.publicKey,
                extensions: [
                    (NID_basic_constraints, "critical,CA:TRUE,pathlen:0"), (NID_key_usage, "critical,keyCertSign"),
                ]),
            signedBy: key)
    }

    /// A certificate, DER, that says of the holder of `host` that it belongs to the swarm; `name` is for people.
    package func issueLeaf(for host: Ed25519.PublicKey, name: String) throws(CryptographyError) -> [UInt8] {
        // One serial number a key, as the standard wants it; the top bit stays clear, so that the number is positive.
        let serial = SHA256.hash(host.bytes).prefix(8).reduce(0 as UInt64) { $0 << 8 | UInt64($1) } & .max >> 1
        return try Certificate.issue(
            CertificateContent(
                subject: name, issuer: Self.name, serial: serial, publicKey: host,
                extensions: [
                    (NID_basic_constraints, "critical,CA:FALSE"), (NID_key_usage, "critical,digitalSignature"),
                    (NID_ext_key_usage, "serverAuth,clientAuth"), (NID_subject_alt_name, "DNS:localhost"),
                ]),
            signedBy: key)
    }

    /// The key that a certificate of this authority speaks for. Nil for every other certificate, for an authority's own,
    /// and for bytes that are none.
    package func publicKey(ofLeaf certificate: [UInt8]) -> Ed25519.PublicKey? {
        Certificate.withParsed(certificate) { leaf in
            guard X509_check_ca(leaf) == 0, X509_verify(leaf, key.key) == 1 else { return nil }
            return Certificate.publicKey(of: leaf)
        }
    }

    /// Whether a certificate looks as if some swarm's authority had issued it. Proves nothing; tells a host of another
    /// swarm from a web server.
    package static func isFromSomeSwarm(_ certificate: [UInt8]) -> Bool {
        Certificate.withParsed(certificate) { Certificate.commonName(of: X509_get_issuer_name($0)) == name } ?? false
    }

    private static let name = "igris-runtime swarm"
}
