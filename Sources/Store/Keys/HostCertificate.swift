package import Core
package import Cryptography

/// The certificate that a host makes for itself, so that clients can speak TLS with it before anybody has given it one.
package struct HostCertificate: Sendable {
    package static let keyName = "tls.key"
    package static let fileName = "tls.crt"

    private static let longest = 16 * 1024
    private static let day: Int64 = 86_400
    /// Apple's clients take none that is good for more than 825 days.
    private static let lifetime = 820 * day
    private static let renewal = 30 * day

    /// DER.
    package var certificate: [UInt8]
    package var key: ServerKey
    /// It was made just now.
    package var isNew: Bool

    /// Reads the one in `directory`, or makes it; makes it anew, with the same key, when it has less than 30 days to
    /// go. Errors as ``KeyFile/loadOrCreate(directory:name:)``.
    ///
    /// - Parameter now: seconds since 1970.
    package static func loadOrCreate(
        directory: String, names: [String], addresses: [String], now: Int64
    ) throws(RuntimeError) -> HostCertificate {
        let seed = try KeyFile.loadOrCreate(directory: directory, name: keyName)
        do {
            let key = try ServerKey(seed: seed)
            let kept = try PrivateFile.read(directory: directory, name: fileName, atMost: longest)
            if let kept, let facts = CertificateFacts(der: kept), facts.notAfter > now + renewal {
                return HostCertificate(certificate: kept, key: key, isNew: false)
            }
            // A clock that is a day behind is no reason to be refused.
            let serial = try SecureRandom.bytes(8).reduce(0 as UInt64) { $0 << 8 | UInt64($1) }
            let made = try ServerCertificate.selfSigned(
                key, serial: serial, names: names, addresses: addresses, from: now - day, until: now + lifetime)
            try PrivateFile.replace(directory: directory, name: fileName, with: made)
            return HostCertificate(certificate: made, key: key, isNew: true)
        } catch let error as RuntimeError {
            throw error
        } catch {
            throw RuntimeError(.system, "this host's own certificate cannot be made", cause: error)
        }
    }
}
