package import Core
import Cryptography

/// The API keys that open this host, held as SHA-256 only.
///
/// A plain hash is enough because keys are random strings, not passwords: nobody can list the candidates.
package struct ClientKeys: Sendable {
    private struct Entry: Sendable {
        let name: String
        let digest: [UInt8]
    }

    private let entries: [Entry]

    /// `name` tells the keys apart in logs and as owners of conversations; it is no secret.
    package init(_ keys: [(name: String, key: Secret<String>)]) {
        entries = keys.map { Entry(name: $0.name, digest: SHA256.hash(Array($0.key.reveal().utf8))) }
    }

    package var isEmpty: Bool { entries.isEmpty }

    /// SHA-256 of the keys that are called so.
    func digests(of name: String) -> [[UInt8]] { entries.filter { $0.name == name }.map(\.digest) }

    /// The name of the key that `presented` is, if it is one. Takes the same time whichever key matches.
    package func name(of presented: String) -> String? {
        let digest = SHA256.hash(Array(presented.utf8))
        var found: String?
        for entry in entries where ConstantTime.equals(entry.digest, digest) { found = found ?? entry.name }
        return found
    }
}
