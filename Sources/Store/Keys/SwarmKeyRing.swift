package import Core
package import Cryptography
import Glibc

/// The swarm key of this host, and the file in which rotations keep what followed it (swarm.md §11).
///
/// The key comes from the configuration, else from the user's `swarm.key`, made at the first start; in open mode it is
/// a public constant. The ring file is named for that key: with another key in the configuration another ring begins.
/// What it holds is sealed under that key and is the rotation's own business.
package struct SwarmKeyRing: Sendable {
    package static let fileName = "swarm.key"
    static let replacedFileName = "swarm.key.old"
    /// Beside a key that was made here, until a host of another machine was met with it: holds the key's public tag.
    static let unsharedFileName = "swarm.key.unshared"
    /// Keys, hosts seen and hosts denied: far below this.
    static let ringBytes = 4 * 1024 * 1024

    /// Where the key comes from.
    package enum Source: Hashable, Sendable {
        /// `mcp.encryption_key`, or its environment variable.
        case configured
        /// The user's ``fileName``.
        case file
        /// `mcp.open`.
        case open
    }

    package let source: Source
    /// What the ring begins with; it may have been retired since.
    package let root: SwarmKeys
    private let directory: String

    /// - Parameters:
    ///   - directory: the state folder, made where missing.
    ///   - configured: the key of the configuration, which the caller has already (``SwarmKeyText``), so that a
    ///     passphrase is stretched but once a start.
    ///
    /// Throws ``RuntimeError``: `.configuration` for a key file that others may read or that is no key, `.system`.
    package static func resolve(
        directory: String, configured: SymmetricKey?, isOpen: Bool
    ) throws(RuntimeError) -> SwarmKeyRing {
        if isOpen {
            return SwarmKeyRing(
                source: .open, root: try keys { () throws(CryptographyError) in try .open() }, directory)
        }
        if let configured {
            return SwarmKeyRing(
                source: .configured, root: try keys { () throws(CryptographyError) in try SwarmKeys(configured) },
                directory)
        }
        let isNew = try KeyFile.load(directory: directory, name: fileName) == nil
        let key = try KeyFile.loadOrCreate(directory: directory, name: fileName)
        let root = try keys { () throws(CryptographyError) in try SwarmKeys(key) }
        if isNew { try PrivateFile.replace(directory: directory, name: unsharedFileName, with: root.tag) }
        return SwarmKeyRing(source: .file, root: root, directory)
    }

    private init(source: Source, root: SwarmKeys, _ directory: String) {
        self.source = source
        self.root = root
        self.directory = directory
    }

    /// Makes `key` the user's: what `swarm join` does. The one before is kept as `swarm.key.old`.
    package static func join(_ key: SymmetricKey, directory: String) throws(RuntimeError) {
        guard key.count == KeyFile.bytes else { throw RuntimeError(.configuration, "a swarm key has 32 bytes") }
        try Folder.create(directory)
        if let old = try KeyFile.load(directory: directory, name: fileName) {
            guard old.reveal() != key.reveal() else { return }
            try PrivateFile.replace(directory: directory, name: replacedFileName, with: old.reveal())
        }
        try PrivateFile.replace(directory: directory, name: fileName, with: key.reveal())
        // The new one was given by somebody.
        unlink("\(directory)/\(unsharedFileName)")
    }

    /// The key was made on this machine, and no host of another one was ever met with it.
    package var isUnshared: Bool {
        guard source == .file else { return false }
        // What cannot be read says nothing.
        return (try? PrivateFile.read(directory: directory, name: Self.unsharedFileName, atMost: 64)) == root.tag
    }

    /// A host of another machine was met.
    package func markShared() { unlink("\(directory)/\(Self.unsharedFileName)") }

    // MARK: - The ring

    /// What was saved last; nil where no rotation ever was. Throws `.corrupt` for a file that does not open: then
    /// nobody may guess which keys are accepted.
    package func load() throws(RuntimeError) -> [UInt8]? {
        guard let record = try PrivateFile.read(directory: directory, name: ringName, atMost: Self.ringBytes) else {
            return nil
        }
        do {
            return try AESGCM.open(record, key: try sealing(), aad: root.tag)
        } catch {
            throw RuntimeError(
                .corrupt,
                "the file \(ringName) with the swarm's keys is damaged: restore it from a copy, or move it "
                    + "away and join the swarm again with `igris-runtime swarm join`")
        }
    }

    /// Replaces it by what `merge` makes of it and of `ring`; on disk when this returns. Instances of one user share
    /// the file: none may take back what another has kept.
    package func save(
        _ ring: [UInt8], merge: (_ kept: [UInt8], _ ring: [UInt8]) throws(RuntimeError) -> [UInt8]
    ) throws(RuntimeError) {
        try Folder.create(directory)
        let lock = try FileLock.wait(for: "\(directory)/\(ringName).lock")
        // Held to the end of this call.
        defer { withExtendedLifetime(lock) {} }
        guard let kept = try load() else {
            try save(ring)
            return
        }
        try save(try merge(kept, ring))
    }

    /// Replaces it as a whole, on disk when this returns.
    func save(_ ring: [UInt8]) throws(RuntimeError) {
        let record: [UInt8]
        do {
            record = try AESGCM.seal(ring, key: try sealing(), aad: root.tag)
        } catch {
            throw RuntimeError(.internal, "the swarm's keys could not be sealed", cause: error)
        }
        failpoint("ring.save.before")
        try PrivateFile.replace(directory: directory, name: ringName, with: record)
        failpoint("ring.save.after")
    }

    private var ringName: String { "swarm-\(root.tag.prefix(8).hex).ring" }

    private func sealing() throws(CryptographyError) -> SymmetricKey {
        try HKDF.derive(key: root.key, label: "igris-swarm-ring-1")
    }

    private static func keys(
        _ derive: () throws(CryptographyError) -> SwarmKeys
    ) throws(RuntimeError) -> SwarmKeys {
        do {
            return try derive()
        } catch {
            throw RuntimeError(.internal, "the swarm's keys could not be derived", cause: error)
        }
    }
}
