import COpenSSL

/// What a certificate says.
struct CertificateContent {
    var subject: String
    var issuer: String
    var serial: UInt64
    var publicKey: Ed25519.PublicKey
    /// The library's number of each extension, and its value in the library's notation.
    var extensions: [(id: Int32, value: String)]
}

/// X.509 certificates (RFC 5280) over Ed25519 keys (RFC 8410).
enum Certificate {
    private static let notBefore = "19700101000000Z"
    /// RFC 5280 §4.1.2.5: no end.
    private static let notAfter = "99991231235959Z"

    static func issue(
        _ content: CertificateContent, signedBy key: Ed25519.PrivateKey
    ) throws(CryptographyError) -> [UInt8] {
        guard let certificate = X509_new() else { throw OpenSSL.failure() }
        defer { X509_free(certificate) }
        guard
            let subjectKey = EVP_PKEY_new_raw_public_key(
                EVP_PKEY_ED25519, nil, content.publicKey.bytes, Ed25519.keyBytes)
        else { throw OpenSSL.failure() }
        defer { EVP_PKEY_free(subjectKey) }
        guard X509_set_version(certificate, 2) == 1,
            ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), content.serial) == 1,
            ASN1_TIME_set_string_X509(X509_getm_notBefore(certificate), notBefore) == 1,
            ASN1_TIME_set_string_X509(X509_getm_notAfter(certificate), notAfter) == 1,
            setCommonName(of: X509_get_subject_name(certificate), to: content.subject),
            setCommonName(of: X509_get_issuer_name(certificate), to: content.issuer),
            X509_set_pubkey(certificate, subjectKey) == 1,
            content.extensions.allSatisfy({ add($0, to: certificate) }),
            X509_sign(certificate, key.key, nil) > 0
        else { throw OpenSSL.failure() }
        return try encode(certificate)
    }

    /// Nil when the bytes are not exactly one certificate, else what `body` returns. The pointer must not leave `body`.
    static func withParsed<Result>(_ bytes: [UInt8], _ body: (OpaquePointer) -> Result?) -> Result? {
        bytes.withUnsafeBufferPointer { buffer -> Result? in
            var cursor = buffer.baseAddress
            defer { ERR_clear_error() }
            guard let certificate = d2i_X509(nil, &cursor, buffer.count) else { return nil }
            defer { X509_free(certificate) }
            guard let cursor, cursor - buffer.count == buffer.baseAddress else { return nil }
            return body(certificate)
        }
    }

    static func publicKey(of certificate: OpaquePointer) -> Ed25519.PublicKey? {
        guard let key = X509_get0_pubkey(certificate), EVP_PKEY_get_id(key) == EVP_PKEY_ED25519 else { return nil }
        var bytes = [UInt8](repeating: 0, count: Ed25519.keyBytes)
        var count = bytes.count
        guard EVP_PKEY_get_raw_public_key(key, &bytes, &count) == 1, count == Ed25519.keyBytes else { return nil }
        return try? Ed25519.PublicKey(bytes)  // throws only for another length
    }

    static func commonName(of name: OpaquePointer?) -> String? {
        var text = [CChar](repeating: 0, count: 65)
        let count = X509_NAME_get_text_by_NID(name, NID_commonName, &text, Int32(text.count))
        guard count > 0 else { return nil }
        return String(validating: text.prefix(Int(count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    static func setCommonName(of name: OpaquePointer?, to text: String) -> Bool {
        let bytes = Array(text.utf8)
        return X509_NAME_add_entry_by_NID(
            name, NID_commonName, V_ASN1_UTF8STRING, bytes, Int32(clamping: bytes.count), -1, 0) == 1
    }

    private static func add(_ addition: (id: Int32, value: String), to certificate: OpaquePointer) -> Bool {
        guard let made = X509V3_EXT_conf_nid(nil, nil, addition.id, addition.value) else { return false }
        defer { X509_EXTENSION_free(made) }
        return X509_add_ext(certificate, made, -1) == 1
    }

    static func encode(_ certificate: OpaquePointer) throws(CryptographyError) -> [UInt8] {
        var output: UnsafeMutablePointer<UInt8>?
        let count = i2d_X509(certificate, &output)
        // What `OPENSSL_free` is, which the importer does not see through.
        defer { CRYPTO_free(output, nil, 0) }
        guard count > 0, let output else { throw OpenSSL.failure() }
        return Array(UnsafeBufferPointer(start: output, count: Int(count)))
    }
}

extension Ed25519.PrivateKey {
    /// The key as PKCS #8, DER (RFC 8410 §7), for the one place that hands it to a TLS library.
    package func pkcs8() throws(CryptographyError) -> SymmetricKey {
        let header: [UInt8] = [0x30, 0x2E, 2, 1, 0, 0x30, 5, 6, 3, 0x2B, 0x65, 0x70, 4, 0x22, 4, 0x20]
        var bytes = header + (try seed()).reveal()
        defer {
            for index in bytes.indices { bytes[index] = 0 }
        }
        return SymmetricKey(bytes)
    }
}
