package import Core
package import Cryptography

/// What opens a backup.
package enum ArchiveSecret: Sendable {
    /// The swarm's key: every host of the swarm can restore, and nobody has to type or keep anything more.
    case swarmKey(SwarmKeys)
    /// Words that a person keeps, for archives that leave the swarm's hands, and for hosts whose swarm has no secret.
    case passphrase(SymmetricKey)
}

/// The head of a backup, in clear:
///
///     "IGRSBACK" | version u8 | sealing u8 | salt 32 | swarm's tag 16 | seconds u64 | key check 16 | SHA-256's first 4
///
/// Its hash is part of what every chunk authenticates. The last field tells a damaged head from a wrong key.
package struct ArchiveHeader: Hashable, Sendable {
    package enum Sealing: UInt8, Sendable {
        case swarmKey = 1
        /// scrypt with N = 2¹⁷, r = 8, p = 1 (about 0.3 s and 128 MiB a guess).
        case passphrase = 2
    }

    package static let bytes = 86
    private static let magic = Array("IGRSBACK".utf8)
    private static let version: UInt8 = 1
    private static let saltBytes = 32
    private static let checkBytes = 16
    private static let sumBytes = 4

    package let sealing: Sealing
    /// The public name of the swarm whose key it was; zeros for a passphrase.
    package let tag: [UInt8]
    /// Since 1970.
    package let made: UInt64
    private let salt: [UInt8]
    private var check: [UInt8] = []

    /// A head for a new archive, and the key that seals it.
    package static func make(
        for secret: ArchiveSecret, at seconds: UInt64
    ) throws(RuntimeError) -> (header: ArchiveHeader, key: SymmetricKey) {
        do {
            var header = ArchiveHeader(secret, salt: try SecureRandom.bytes(saltBytes), made: seconds)
            let key = try header.derive(secret)
            header.check = header.check(with: key)
            return (header, key)
        } catch {
            throw Self.notDerived(error)
        }
    }

    private init(_ secret: ArchiveSecret, salt: [UInt8], made: UInt64) {
        switch secret {
        case .swarmKey(let keys): (sealing, tag) = (.swarmKey, keys.tag)
        case .passphrase: (sealing, tag) = (.passphrase, [UInt8](repeating: 0, count: SwarmKeys.tagBytes))
        }
        self.salt = salt
        self.made = made
    }

    /// Throws `.corrupt` for what is no head of a backup or was changed, `.configuration` for a newer format.
    package init(_ bytes: [UInt8]) throws(RuntimeError) {
        guard bytes.starts(with: Self.magic) else {
            throw RuntimeError(.corrupt, "the file is no backup of igris-runtime")
        }
        guard bytes.count >= Self.bytes else { throw RuntimeError(.corrupt, "the backup is cut off in its head") }
        let bytes = Array(bytes.prefix(Self.bytes))
        guard SHA256.hash(Array(bytes.dropLast(Self.sumBytes))).starts(with: bytes.suffix(Self.sumBytes)) else {
            throw RuntimeError(.corrupt, "the backup's head was damaged or changed")
        }
        var reader = ByteReader(Array(bytes.dropFirst(Self.magic.count)))
        guard try reader.byte() == Self.version, let sealing = Sealing(rawValue: try reader.byte()) else {
            throw RuntimeError(.configuration, "the backup was made by a newer version of igris-runtime")
        }
        self.sealing = sealing
        salt = try reader.raw(Self.saltBytes)
        tag = try reader.raw(SwarmKeys.tagBytes)
        made = try reader.bigEndian64()
        check = try reader.raw(Self.checkBytes)
    }

    package var encoded: [UInt8] {
        let bytes = checked + check
        return bytes + SHA256.hash(bytes).prefix(Self.sumBytes)
    }

    /// What each chunk authenticates of it.
    var digest: [UInt8] { SHA256.hash(encoded) }

    /// Throws `.wrongKey` for a secret that is not the archive's.
    package func key(_ secret: ArchiveSecret) throws(RuntimeError) -> SymmetricKey {
        let key: SymmetricKey
        do {
            key = try derive(secret)
        } catch {
            throw Self.notDerived(error)
        }
        guard ConstantTime.equals(check(with: key), check) else { throw refusal }
        return key
    }

    /// What to do about a secret that does not open it.
    package var refusal: RuntimeError {
        switch sealing {
        case .passphrase: RuntimeError(.wrongKey, "the passphrase is not the one that the backup was sealed with")
        case .swarmKey:
            RuntimeError(
                .wrongKey,
                "the backup was sealed with the key of the swarm \(tag.hex), which is not this host's: join that swarm "
                    + "first (igris-runtime swarm join), or give its key with --secret")
        }
    }

    private func derive(_ secret: ArchiveSecret) throws(CryptographyError) -> SymmetricKey {
        let material =
            switch secret {
            case .swarmKey(let keys): keys.key
            case .passphrase(let words): try Scrypt.derive(password: words.reveal(), salt: salt)
            }
        return try HKDF.derive(key: material, salt: salt, label: "igris-backup-1")
    }

    private func check(with key: SymmetricKey) -> [UInt8] {
        Array(HMACSHA256.authenticate(checked, key: key).prefix(Self.checkBytes))
    }

    private var checked: [UInt8] {
        var writer = ByteWriter()
        writer.put(raw: Self.magic)
        writer.put(Self.version)
        writer.put(sealing.rawValue)
        writer.put(raw: salt)
        writer.put(raw: tag)
        writer.put(bigEndian: made)
        return writer.bytes
    }

    private static func notDerived(_ error: CryptographyError) -> RuntimeError {
        RuntimeError(.system, "the backup's key could not be derived; 128 MiB of memory must be free", cause: error)
    }
}
