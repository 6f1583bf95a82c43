package import Core
import Cryptography
import Glibc

/// Which file it is, and in which state: whoever writes to it changes this.
package struct FileIdentity: Hashable, Sendable {
    package var bytes: Int
    let device: UInt64
    let inode: UInt64
    let modified: Int64

    /// Nil where there is no regular file.
    package init?(path: String) {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        self.init(status)
    }

    init?(descriptor: Int32) {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return nil }
        self.init(status)
    }

    private init?(_ status: stat) {
        guard status.st_mode & S_IFMT == S_IFREG else { return nil }
        bytes = Int(status.st_size)
        device = UInt64(status.st_dev)
        inode = UInt64(status.st_ino)
        modified = Int64(status.st_mtim.tv_sec) &* 1_000_000_000 &+ Int64(status.st_mtim.tv_nsec)
    }

    /// What the digests are kept by: no path.
    var key: String { "\(device):\(inode):\(bytes):\(modified)" }
}

/// Reading a whole file for its SHA-256.
package enum FileDigest {
    private static let chunkBytes = 1024 * 1024

    /// 64 hexadecimal digits; nil when `isStopped` said so. Reads the file instead of mapping it: another program that
    /// shortens it in the meantime does no harm then. Blocks.
    package static func sha256(of path: String, isStopped: () -> Bool = { false }) throws(RuntimeError) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)
        guard descriptor >= 0 else { throw SystemFailure.error("open a model's file") }
        defer { close(descriptor) }
        var hash = SHA256()
        var buffer = [UInt8](repeating: 0, count: chunkBytes)
        while !isStopped() {
            let count = buffer.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw SystemFailure.error("read a model's file") }
            guard count > 0 else { return hash.finish().hex }
            hash.update(count == buffer.count ? buffer : Array(buffer[..<count]))
        }
        return nil
    }
}
