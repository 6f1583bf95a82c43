import Core
import Cryptography
import Gateway
import Glibc
import Store
import Swarm

/// What seals and opens backups. The swarm's key by default: it is the one secret that a person keeps anyway to bring
/// hosts together, each of them can restore, and a backup by a timer needs nobody. A passphrase for archives that leave
/// the swarm's hands, or that should outlive its key; and in an open swarm, whose key everybody knows.
struct BackupSecrets {
    let ring: SwarmKeyRing

    static let shortestPassphrase = 12

    /// Of a new backup.
    func sealing(passphrase: String?) throws -> ArchiveSecret {
        if let passphrase { return .passphrase(SymmetricKey(Array(passphrase.utf8))) }
        guard ring.source != .open else {
            throw RuntimeError(
                .invalidRequest,
                "this host is open (mcp.open), so its swarm's key is no secret: give a passphrase (--secret)")
        }
        return .swarmKey(try rotation().primary)
    }

    /// For a backup that is there. `given` is a passphrase, or the text of a swarm's key.
    func opening(_ header: ArchiveHeader, given: String?) throws(RuntimeError) -> ArchiveSecret {
        switch header.sealing {
        case .passphrase:
            guard let given else {
                throw RuntimeError(
                    .wrongKey,
                    "the backup was sealed with a passphrase: give it with --secret FILE, - for standard input")
            }
            return .passphrase(SymmetricKey(Array(given.utf8)))
        case .swarmKey:
            var keys = [ring.root]
            if let given {
                do {
                    keys = [try SwarmKeys(try SwarmKeyText.parse(given))]
                } catch let error as RuntimeError {
                    throw error
                } catch {
                    throw RuntimeError(.internal, "the swarm's keys could not be derived", cause: error)
                }
            } else {
                keys += try rotation().keys
            }
            guard let fitting = keys.first(where: { $0.tag == header.tag }) else { throw header.refusal }
            return .swarmKey(fitting)
        }
    }

    private func rotation() throws(RuntimeError) -> KeyRotation {
        try KeyRotation(node: NodeID(Bytes16(high: 0, low: 0)), root: ring.root, saved: try ring.load())
    }
}

extension GatewayStore {
    init(_ storage: Storage) {
        self.init(
            backup: { passphrase in
                let secret = try BackupSecrets(ring: storage.ring).sealing(passphrase: passphrase?.reveal())
                let backup = try await storage.store.makeBackup(
                    sealedBy: secret, version: IgrisRuntime.version, at: UInt64(clamping: time(nil)))
                return { try await backup.next() }
            },
            key: { rotates in
                let status =
                    try await rotates ? storage.store.rotateKey() : storage.store.keyStatus()
                return [
                    "version": .integer(Int64(status.version)),
                    "made": .integer(Int64(clamping: status.made)),
                    "records": .integer(Int64(clamping: status.records)), "keys": .integer(Int64(status.keys)),
                    "rows_left": .integer(Int64(clamping: status.rowsLeft)),
                    "erasures": .integer(Int64(clamping: status.erasures)),
                ]
            })
    }
}
