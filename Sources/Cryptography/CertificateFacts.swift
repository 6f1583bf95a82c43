import COpenSSL
import Glibc

/// What a certificate says of its holder; whether that is true, the TLS handshake and an authority tell.
package struct CertificateFacts: Hashable, Sendable {
    /// As RFC 2253 writes it, the most special part first: `CN=ann,O=Example`.
    package var subject: String
    /// Nil for one without.
    package var commonName: String?
    /// SHA-256 of the certificate: 64 hex digits.
    package var fingerprint: String
    /// SHA-256 of its public key, in base64: what `curl --pinnedpubkey sha256//…` wants.
    package var keyPin: String
    /// Seconds since 1970.
    package var notBefore: Int64
    package var notAfter: Int64
    /// It names itself as its issuer.
    package var isSelfIssued: Bool

    private static let longestSubject = 1_024

    /// Nil when the bytes are not exactly one certificate, or its subject is longer than any should be.
    package init?(der: [UInt8]) {
        let facts = Certificate.withParsed(der) { certificate -> CertificateFacts? in
            guard let subject = Self.subject(of: certificate),
                let notBefore = Self.seconds(X509_get0_notBefore(certificate)),
                let notAfter = Self.seconds(X509_get0_notAfter(certificate))
            else { return nil }
            return CertificateFacts(
                subject: subject, commonName: Certificate.commonName(of: X509_get_subject_name(certificate)),
                fingerprint: SHA256.hash(der).map(Self.hex).joined(), keyPin: Self.pin(of: certificate),
                notBefore: notBefore, notAfter: notAfter,
                isSelfIssued: X509_NAME_cmp(X509_get_subject_name(certificate), X509_get_issuer_name(certificate)) == 0)
        }
        guard let facts else { return nil }
        self = facts
    }

    private init(
        subject: String, commonName: String?, fingerprint: String, keyPin: String, notBefore: Int64, notAfter: Int64,
        isSelfIssued: Bool
    ) {
        self.subject = subject
        self.commonName = commonName
        self.fingerprint = fingerprint
        self.keyPin = keyPin
        self.notBefore = notBefore
        self.notAfter = notAfter
        self.isSelfIssued = isSelfIssued
    }

    /// A certificate as files hold it (RFC 7468).
    package static func pem(_ der: [UInt8]) -> String {
        let text = Array(Base64.encode(der))
        let lines = stride(from: 0, to: text.count, by: 64).map { String(text[$0..<min($0 + 64, text.count)]) }
        return (["-----BEGIN CERTIFICATE-----"] + lines + ["-----END CERTIFICATE-----", ""]).joined(separator: "\n")
    }

    private static func subject(of certificate: OpaquePointer) -> String? {
        guard let output = BIO_new(BIO_s_mem()) else { return nil }
        defer { BIO_free(output) }
        guard igris_X509_print_subject(certificate, output) >= 0 else { return nil }
        var bytes = [UInt8](repeating: 0, count: longestSubject + 1)
        let count = BIO_read(output, &bytes, Int32(bytes.count))
        guard count <= longestSubject else { return nil }
        return String(validating: bytes.prefix(Int(max(0, count))), as: UTF8.self)
    }

    private static func seconds(_ time: UnsafePointer<ASN1_TIME>?) -> Int64? {
        var parts = tm()
        guard let time, ASN1_TIME_to_tm(time, &parts) == 1 else { return nil }
        return Int64(timegm(&parts))
    }

    private static func pin(of certificate: OpaquePointer) -> String {
        var output: UnsafeMutablePointer<UInt8>?
        let count = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &output)
        defer { CRYPTO_free(output, nil, 0) }
        guard count > 0, let output else { return "" }
        return Base64.encode(SHA256.hash(Array(UnsafeBufferPointer(start: output, count: Int(count)))))
    }

    private static func hex(_ byte: UInt8) -> String {
        let digits = String(byte, radix: 16)
        return byte < 16 ? "0\(digits)" : digits
    }
}
