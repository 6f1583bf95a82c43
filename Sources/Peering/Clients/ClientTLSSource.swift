import Core
package import Cryptography
import Glibc
import NIOCore
import NIOSSL

/// Where the certificate comes from that clients are shown, and whose they may show.
package struct ClientTLSSource: Sendable {
    package enum Certificate: Sendable {
        /// PEM files: `tls.cert` and `tls.key`.
        case files(certificate: String, key: String)
        /// One that this host made: DER.
        case own([UInt8], ServerKey)
    }

    /// How the files looked when they were read.
    struct Stamp: Hashable, Sendable {
        fileprivate var files: [[Int]]
    }

    private var certificate: Certificate
    /// `tls.client_ca`
    private var clientAuthority: String?
    private var requiresClientCertificate: Bool

    package init(_ certificate: Certificate, clientAuthority: String? = nil, requiresClientCertificate: Bool = false) {
        self.certificate = certificate
        self.clientAuthority = clientAuthority
        self.requiresClientCertificate = requiresClientCertificate
    }

    /// A chain is a few thousand bytes; all authorities of a system are 230,000.
    private static let longestFile = 1024 * 1024
    private static let chainLength = 10

    /// Of TLS 1.2 the one that every client knows, with forward secrecy and AEAD (RFC 9325 §4.2), for either kind of key:
    /// the library lets the client choose among several, and here is none to choose badly. Those of TLS 1.3 are all good.
    private static let ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"

    func stamp() -> Stamp {
        var paths: [String] = []
        if case .files(let certificate, let key) = certificate { paths = [certificate, key] }
        if let clientAuthority { paths.append(clientAuthority) }
        return Stamp(
            files: paths.map { path in
                var status = stat()
                guard stat(path, &status) == 0 else { return [] }
                return [
                    Int(status.st_ino), Int(status.st_size), status.st_mtim.tv_sec, status.st_mtim.tv_nsec,
                    status.st_ctim.tv_sec, status.st_ctim.tv_nsec,
                ]
            })
    }

    func load() throws(RuntimeError) -> (NIOSSLContext, ClientTLS.Shown) {
        let (chain, key) = try chainAndKey()
        guard let leaf = chain.first, let bytes = try? leaf.toDERBytes(), let facts = CertificateFacts(der: bytes)
        else {
            throw RuntimeError(.configuration, "\(place("tls.cert")) holds a certificate that cannot be read")
        }
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(key))
        configuration.minimumTLSVersion = .tlsv12
        configuration.cipherSuites = Self.ciphers
        configuration.applicationProtocols = ["http/1.1"]
        configuration.shutdownTimeout = TimeAmount(Limits.linkGoodbye)
        configuration.trustRoots = .certificates([])
        if let clientAuthority {
            configuration.trustRoots = .certificates(try certificates(clientAuthority, "tls.client_ca", atMost: 1_000))
            configuration.sendCANameList = true
            configuration.certificateVerification =
                requiresClientCertificate ? .noHostnameVerification : .optionalVerification
        }
        do {
            return (
                try NIOSSLContext(configuration: configuration),
                ClientTLS.Shown(facts: facts, certificate: CertificateFacts.pem(bytes))
            )
        } catch {
            throw RuntimeError(
                .configuration,
                "\(place("tls.key")) is not the key of the certificate in \(place("tls.cert")): give the two that were "
                    + "made together", cause: error)
        }
    }

    private func chainAndKey() throws(RuntimeError) -> ([NIOSSLCertificate], NIOSSLPrivateKey) {
        switch certificate {
        case .files(let certificate, let key):
            return (try certificates(certificate, "tls.cert", atMost: Self.chainLength), try privateKey(key))
        case .own(let certificate, let key):
            do {
                return (
                    [try NIOSSLCertificate(bytes: certificate, format: .der)],
                    try NIOSSLPrivateKey(bytes: key.pkcs8.reveal(), format: .der)
                )
            } catch {
                throw RuntimeError(.configuration, "this host's own certificate cannot be used", cause: error)
            }
        }
    }

    private func certificates(_ path: String, _ name: String, atMost limit: Int) throws(RuntimeError)
        -> [NIOSSLCertificate]
    {
        let bytes = try read(path, name)
        let found: [NIOSSLCertificate]
        do {
            found = try NIOSSLCertificate.fromPEMBytes(bytes)
        } catch {
            throw RuntimeError(
                .configuration,
                "\(name): \(path) holds no certificate in PEM (-----BEGIN CERTIFICATE-----); convert one in DER with "
                    + "openssl x509 -inform der", cause: error)
        }
        guard (1...limit).contains(found.count) else {
            throw RuntimeError(
                .configuration, "\(name): \(path) holds \(found.count) certificates; 1 to \(limit) will do")
        }
        return found
    }

    private func privateKey(_ path: String) throws(RuntimeError) -> NIOSSLPrivateKey {
        let bytes = try read(path, "tls.key")
        // With a password it would be asked for one, and there is nobody to ask.
        let isLocked = String(decoding: bytes, as: UTF8.self).contains("ENCRYPTED")
        do {
            guard !isLocked else { throw NIOSSLError.failedToLoadPrivateKey }
            return try NIOSSLPrivateKey(bytes: bytes, format: .pem)
        } catch {
            throw RuntimeError(
                .configuration,
                isLocked
                    ? "tls.key: \(path) is locked with a password; unlock a copy with openssl pkey -in FILE -out NEW, and "
                        + "chmod 600 it"
                    : "tls.key: \(path) holds no private key in PEM (-----BEGIN PRIVATE KEY-----)", cause: error)
        }
    }

    private func read(_ path: String, _ name: String) throws(RuntimeError) -> [UInt8] {
        let descriptor = Glibc.open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
        guard descriptor >= 0 else {
            let reason = strerror(errno).map { String(cString: $0) } ?? "error \(errno)"
            throw RuntimeError(
                .configuration,
                "\(name): \(path) cannot be read (\(reason)); let the daemon's user read it, or name another file")
        }
        defer { Glibc.close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_size <= Self.longestFile
        else {
            throw RuntimeError(
                .configuration, "\(name): \(path) is no file of at most \(Self.longestFile) bytes; name a PEM file")
        }
        var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
        var filled = 0
        while filled < bytes.count {
            let count = bytes.withUnsafeMutableBytes { buffer in
                Glibc.read(descriptor, buffer.baseAddress.map { $0 + filled }, buffer.count - filled)
            }
            guard count > 0 else { break }
            filled += count
        }
        return Array(bytes.prefix(filled))
    }

    private func place(_ name: String) -> String {
        guard case .files(let certificate, let key) = certificate else { return "this host's own certificate" }
        return "\(name) (\(name == "tls.key" ? key : certificate))"
    }
}
