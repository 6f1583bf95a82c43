import Core
import Cryptography
import Glibc

/// A small file that nobody else may read, replaced as a whole: at no moment does its name lead to half of it.
enum PrivateFile {
    /// Nil when there is no such file. Throws ``RuntimeError``: `.configuration` for one that others may read or that
    /// is no plain file of this user, `.corrupt` for one longer than `limit`, `.system`.
    static func read(directory: String, name: String, atMost limit: Int) throws(RuntimeError) -> [UInt8]? {
        let descriptor = Glibc.open(directory + "/" + name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)
        guard descriptor >= 0 else {
            if errno == ENOENT { return nil }
            throw SystemFailure.error("open the file \(name)")
        }
        defer { Glibc.close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw SystemFailure.error("examine the file \(name)") }
        guard status.st_mode & S_IFMT == S_IFREG, status.st_uid == geteuid(), status.st_mode & 0o077 == 0 else {
            throw RuntimeError(
                .configuration, "the file \(name) is not this user's alone: give it to this user and chmod 600 it")
        }
        guard status.st_size <= limit else { throw RuntimeError(.corrupt, "the file \(name) is too long") }
        var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
        var filled = 0
        while filled < bytes.count {
            let count = bytes.withUnsafeMutableBytes { buffer in
                Glibc.read(descriptor, buffer.baseAddress.map { $0 + filled }, buffer.count - filled)
            }
            guard count > 0 else { throw SystemFailure.error("read the file \(name)") }
            filled += count
        }
        return bytes
    }

    /// On disk, the name included, when it returns.
    static func replace(directory: String, name: String, with bytes: [UInt8]) throws(RuntimeError) {
        let mark: String
        do {
            mark = try SecureRandom.bytes(8).hex
        } catch {
            throw RuntimeError(.system, "no random bytes can be had for the file \(name)", cause: error)
        }
        let draft = "\(directory)/.\(name).\(mark)"
        let descriptor = Glibc.open(draft, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw SystemFailure.error("make the file \(name)") }
        var isNamed = false
        defer {
            Glibc.close(descriptor)
            if !isNamed { unlink(draft) }
        }
        guard fchmod(descriptor, 0o600) == 0 else { throw SystemFailure.error("protect the file \(name)") }
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes { buffer in
                Glibc.write(descriptor, buffer.baseAddress.map { $0 + written }, buffer.count - written)
            }
            guard count > 0 else { throw SystemFailure.error("write the file \(name)") }
            written += count
        }
        try failpointThrowing("privatefile.write")
        guard fsync(descriptor) == 0 else { throw SystemFailure.error("write the file \(name)") }
        failpoint("privatefile.rename.before")
        guard rename(draft, directory + "/" + name) == 0 else { throw SystemFailure.error("name the file \(name)") }
        isNamed = true
        try Folder.sync(directory)
        failpoint("privatefile.rename.after")
    }
}
