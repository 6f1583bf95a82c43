package import Core
package import Cryptography
import Glibc

/// A file of 32 secret bytes, mode 0600, made at first use and never written again.
package enum KeyFile {
    package static let bytes = 32

    /// Reads `name` in `directory` (made with mode 0700 where missing), or makes it. Of two programs that start at
    /// once, one makes the file and both read the same.
    ///
    /// Throws ``RuntimeError``: `.configuration` for a file that others may read, that belongs to another user or is
    /// no key; `.system` where the disk refuses.
    package static func loadOrCreate(directory: String, name: String) throws(RuntimeError) -> SymmetricKey {
        if let key = try load(directory: directory, name: name) { return key }
        try Folder.create(directory)
        try create(directory: directory, name: name)
        guard let key = try load(directory: directory, name: name) else {
            throw RuntimeError(.system, "the key file \(name) vanished while it was made; start again")
        }
        return key
    }

    /// Nil when there is no such file.
    package static func load(directory: String, name: String) throws(RuntimeError) -> SymmetricKey? {
        let descriptor = Glibc.open(directory + "/" + name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)
        guard descriptor >= 0 else {
            switch errno {
            case ENOENT: return nil
            case ELOOP: throw refused(name, "is a symbolic link", "put the file itself there")
            default: throw SystemFailure.error("open the key file \(name)")
            }
        }
        defer { Glibc.close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw SystemFailure.error("examine the key file \(name)") }
        guard status.st_mode & S_IFMT == S_IFREG else { throw refused(name, "is not a file", "move it away") }
        guard status.st_uid == geteuid() else {
            throw refused(name, "belongs to another user", "run as that user, or give the file to this one")
        }
        guard status.st_mode & 0o077 == 0 else {
            throw refused(name, "may be read by other users", "chmod 600 it; if it was copied, make a new one")
        }
        guard status.st_size == Self.bytes else {
            throw refused(name, "has \(status.st_size) bytes instead of \(Self.bytes)", "restore it from a copy")
        }
        var bytes = [UInt8](repeating: 0, count: Self.bytes)
        defer { for index in bytes.indices { bytes[index] = 0 } }
        guard Glibc.read(descriptor, &bytes, Self.bytes) == Self.bytes else {
            throw SystemFailure.error("read the key file \(name)")
        }
        return SymmetricKey(bytes)
    }

    /// Written and synced under another name, then linked to its own, which fails where a file is there already:
    /// at no moment does the name lead to half a key.
    private static func create(directory: String, name: String) throws(RuntimeError) {
        let fresh: [UInt8]
        let mark: String
        do {
            fresh = try SymmetricKey(random: Self.bytes).reveal()
            mark = try SecureRandom.bytes(8).hex
        } catch {
            throw RuntimeError(.system, "no random bytes can be had for the key file \(name)", cause: error)
        }
        let draft = "\(directory)/.\(name).\(mark)"
        let descriptor = Glibc.open(draft, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw SystemFailure.error("make the key file \(name)") }
        defer {
            Glibc.close(descriptor)
            unlink(draft)
        }
        failpoint("keyfile.write")
        // The umask may take bits away from the mode, and nobody else adds any.
        guard fchmod(descriptor, 0o600) == 0, Glibc.write(descriptor, fresh, fresh.count) == fresh.count,
            fsync(descriptor) == 0
        else { throw SystemFailure.error("write the key file \(name)") }
        failpoint("keyfile.name.before")
        guard link(draft, directory + "/" + name) == 0 || errno == EEXIST else {
            throw SystemFailure.error("name the key file \(name)")
        }
        try Folder.sync(directory)
        failpoint("keyfile.name.after")
    }

    private static func refused(_ name: String, _ what: String, _ remedy: String) -> RuntimeError {
        RuntimeError(.configuration, "the key file \(name) \(what): \(remedy)")
    }
}
