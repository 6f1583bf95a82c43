import Core
internal import Cryptography

/// A certificate that a client showed, and whose authority the TLS library has checked.
package struct ClientCertificate: Hashable, Sendable {
    /// As RFC 2253 writes it.
    package var subject: String
    package var commonName: String?
    /// SHA-256, 64 hex digits, lower case.
    package var fingerprint: String

    package init(subject: String, commonName: String? = nil, fingerprint: String) {
        self.subject = subject
        self.commonName = commonName
        self.fingerprint = fingerprint
    }

    /// By which people name it.
    package var id: String { "crt_\(fingerprint.prefix(12))" }

    /// Nil for bytes that are no certificate.
    package init?(der: [UInt8]) {
        guard let facts = CertificateFacts(der: der) else { return nil }
        self.init(subject: facts.subject, commonName: facts.commonName, fingerprint: facts.fingerprint)
    }
}

/// What clients may do by the certificates that they show (`tls.clients`).
package struct CertificateRule: Sendable {
    package struct Entry: Sendable {
        package var name: String
        /// Nil: whatever it says.
        package var subject: String?
        package var fingerprint: String?
        package var scopes: Scopes

        package init(name: String, subject: String? = nil, fingerprint: String? = nil, scopes: Scopes) {
            self.name = name
            self.subject = subject
            self.fingerprint = fingerprint
            self.scopes = scopes
        }

        fileprivate func matches(_ certificate: ClientCertificate) -> Bool {
            guard subject != nil || fingerprint != nil else { return false }
            return subject.map { $0 == certificate.subject } ?? true
                && fingerprint.map { $0 == certificate.fingerprint } ?? true
        }
    }

    private let entries: [Entry]

    /// - Parameter entries: empty: whoever an authority has signed may chat and read.
    package init(_ entries: [Entry] = []) { self.entries = entries }

    /// Nil for one that is not listed where some are.
    package func identity(of certificate: ClientCertificate) -> Identity? {
        if entries.isEmpty {
            // A name stays when a certificate is renewed; who has none is known by the certificate itself.
            let name = certificate.commonName.flatMap { AccessToken.isName($0) ? $0 : nil }
            return Identity(
                owner: Owner(name: "cert:\(name ?? certificate.fingerprint)"), scopes: [.chat, .read])
        }
        return entries.first { $0.matches(certificate) }.map {
            Identity(owner: Owner(name: "key:\($0.name)"), scopes: $0.scopes)
        }
    }
}
