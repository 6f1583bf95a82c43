import COpenSSL

/// The key of a web server: ECDSA on P-256 (FIPS 186-5), which every client of TLS knows; browsers know no Ed25519.
package struct ServerKey: Sendable {
    /// PKCS #8, DER (RFC 5958, RFC 5915).
    package let pkcs8: SymmetricKey

    /// The order of the curve's group: a secret number is below it (SEC 2 §2.4.2).
    private static let order: [UInt8] = [
        0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
        0xBC, 0xE6, 0xFA, 0xAD, 0xA7, 0x17, 0x9E, 0x84, 0xF3, 0xB9, 0xCA, 0xC2, 0xFC, 0x63, 0x25, 0x51,
    ]
    private static let header: [UInt8] = [
        0x30, 0x41, 2, 1, 0, 0x30, 0x13, 6, 7, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 2, 1,
        6, 8, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 3, 1, 7, 4, 0x27, 0x30, 0x25, 2, 1, 1, 4, 0x20,
    ]

    /// The same seed gives the same key.
    package init(seed: SymmetricKey) throws(CryptographyError) {
        // One number in 2^32 is too large.
        for attempt in 0..<4 {
            let number = try HKDF.derive(key: seed, label: "igris-tls-server-\(attempt)").reveal()
            guard number.lexicographicallyPrecedes(Self.order), number.contains(where: { $0 != 0 }) else { continue }
            pkcs8 = SymmetricKey(Self.header + number)
            return
        }
        throw .invalidLength(of: "a server's key")
    }
}

/// What a host shows to clients that know no authority in common with it.
package enum ServerCertificate {
    /// A certificate, DER, that speaks for its own key and for nothing else: trusted as it is, it makes nobody trust
    /// another one.
    ///
    /// - Parameters:
    ///   - names: as clients write them in URLs; the first is its subject.
    ///   - addresses: in their usual text.
    ///   - from, until: seconds since 1970.
    package static func selfSigned(
        _ key: ServerKey, serial: UInt64, names: [String], addresses: [String], from: Int64, until: Int64
    ) throws(CryptographyError) -> [UInt8] {
        let bytes = key.pkcs8.reveal()
        var cursor: UnsafePointer<UInt8>?
        let pair = bytes.withUnsafeBufferPointer { buffer in
            cursor = buffer.baseAddress
            return d2i_AutoPrivateKey(nil, &cursor, buffer.count)
        }
        guard let pair else { throw OpenSSL.failure() }
        defer { EVP_PKEY_free(pair) }
        guard let certificate = X509_new() else { throw OpenSSL.failure() }
        defer { X509_free(certificate) }
        let alternatives = names.map { "DNS:\($0)" } + addresses.map { "IP:\($0)" }
        let extensions: [(Int32, String)] = [
            (NID_basic_constraints, "critical,CA:FALSE"), (NID_key_usage, "critical,digitalSignature"),
            (NID_ext_key_usage, "serverAuth"), (NID_subject_key_identifier, "hash"),
            (NID_subject_alt_name, alternatives.joined(separator: ",")),
        ]
        guard X509_set_version(certificate, 2) == 1,
            ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial & .max >> 1) == 1,
            ASN1_TIME_set(X509_getm_notBefore(certificate), Int(from)) != nil,
            ASN1_TIME_set(X509_getm_notAfter(certificate), Int(until)) != nil,
            // A subject has room for so much (RFC 5280, ub-common-name).
            Certificate.setCommonName(
                of: X509_get_subject_name(certificate), to: String(names.first?.prefix(64) ?? "igris")),
            X509_set_issuer_name(certificate, X509_get_subject_name(certificate)) == 1,
            X509_set_pubkey(certificate, pair) == 1,
            extensions.allSatisfy({ add($0.0, $0.1, to: certificate) }),
            X509_sign(certificate, pair, OpenSSL.sha256) > 0
        else { throw OpenSSL.failure() }
        return try Certificate.encode(certificate)
    }

    private static func add(_ id: Int32, _ value: String, to certificate: OpaquePointer) -> Bool {
        var context = X509V3_CTX()
        X509V3_set_ctx(&context, certificate, certificate, nil, nil, 0)
        guard let made = X509V3_EXT_conf_nid(nil, &context, id, value) else { return false }
        defer { X509_EXTENSION_free(made) }
        return X509_add_ext(certificate, made, -1) == 1
    }
}
