package import Core
import Glibc
import Synchronization

/// A file that grows piece by piece, and goes on where it stopped after a crash. Blocks.
package final class PartialFile: Sendable {
    private static let syncBytes = 64 * 1024 * 1024

    package let path: String
    private let descriptor: Int32
    private let unsynced = Mutex(0)

    init(path: String) throws(RuntimeError) {
        self.path = path
        descriptor = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw SystemFailure.error("make a model's file") }
    }

    deinit { close(descriptor) }

    package var length: Int { FileIdentity(descriptor: descriptor)?.bytes ?? 0 }

    /// - Parameter offset: Where it ends now.
    package func append(_ bytes: [UInt8], at offset: Int) throws(RuntimeError) {
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes { buffer in
                pwrite(
                    descriptor, buffer.baseAddress.map { $0 + written }, buffer.count - written, off_t(offset + written)
                )
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw SystemFailure.error("write a model's file") }
            written += count
        }
        let isDue = unsynced.withLock { unsynced in
            unsynced += bytes.count
            guard unsynced >= Self.syncBytes else { return false }
            unsynced = 0
            return true
        }
        if isDue { try sync() }
    }

    package func sync() throws(RuntimeError) {
        guard fdatasync(descriptor) == 0 else { throw SystemFailure.error("write a model's file") }
    }

    /// What is there is of no use.
    package func remove() { unlink(path) }

    /// Of all that is there.
    package func digest() throws(RuntimeError) -> String? { try FileDigest.sha256(of: path) }
}

/// A model file that is read at any place, for a peer that copies it. Blocks.
package final class OpenFile: Sendable {
    package let length: Int
    private let descriptor: Int32

    /// Nil where it is not the file any more that it was.
    package init?(path: String, as identity: FileIdentity) {
        descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)
        length = identity.bytes
        guard descriptor >= 0, FileIdentity(descriptor: descriptor) == identity else {
            if descriptor >= 0 { close(descriptor) }
            return nil
        }
    }

    deinit { close(descriptor) }

    package func read(_ range: Range<Int>) throws(RuntimeError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: range.count)
        var filled = 0
        while filled < bytes.count {
            let count = bytes.withUnsafeMutableBytes { buffer in
                pread(
                    descriptor, buffer.baseAddress.map { $0 + filled }, buffer.count - filled,
                    off_t(range.lowerBound + filled))
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw RuntimeError(.damaged, "a model's file became shorter while it was read") }
            filled += count
        }
        return bytes
    }
}
