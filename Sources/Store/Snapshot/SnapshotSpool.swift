import Core
import Cryptography
import Glibc

/// A snapshot on disk: a file without a name, each part sealed with a key that only this process ever holds. When
/// either goes, so does the snapshot.
final class SnapshotSpool: Sendable {
    private let descriptor: Int32
    private let key: SymmetricKey

    /// - Parameter folder: where the file is to be.
    init(folder: String) throws(RuntimeError) {
        do {
            key = try SymmetricKey(random: AESGCM.keyBytes)
        } catch {
            throw RuntimeError(.system, "no random bytes can be had for a snapshot", cause: error)
        }
        descriptor = try Self.open(folder)
    }

    deinit { Glibc.close(descriptor) }

    /// - Parameter index: parts count from 0, and all but the last have ``Limits/snapshotPartBytes``.
    func write(_ part: [UInt8], at index: Int) throws(RuntimeError) {
        let record: [UInt8]
        do {
            record = try AESGCM.seal(part, key: key, aad: Self.place(index))
        } catch {
            throw RuntimeError(.internal, "a snapshot could not be sealed", cause: error)
        }
        var written = 0
        while written < record.count {
            let count = record.withUnsafeBytes { buffer in
                pwrite(
                    descriptor, buffer.baseAddress.map { $0 + written }, buffer.count - written,
                    off_t(Self.offset(index) + written))
            }
            guard count > 0 else { throw SystemFailure.error("write a snapshot") }
            written += count
        }
    }

    func read(part index: Int, bytes: Int) throws(RuntimeError) -> [UInt8] {
        var record = [UInt8](repeating: 0, count: bytes + AESGCM.overhead)
        var filled = 0
        while filled < record.count {
            let count = record.withUnsafeMutableBytes { buffer in
                pread(
                    descriptor, buffer.baseAddress.map { $0 + filled }, buffer.count - filled,
                    off_t(Self.offset(index) + filled))
            }
            guard count > 0 else { throw SystemFailure.error("read a snapshot") }
            filled += count
        }
        do {
            return try AESGCM.open(record, key: key, aad: Self.place(index))
        } catch {
            throw RuntimeError(.corrupt, "a snapshot on disk was damaged or changed; ask for another", cause: error)
        }
    }

    private static func offset(_ index: Int) -> Int { index * (Limits.snapshotPartBytes + AESGCM.overhead) }

    private static func place(_ index: Int) -> [UInt8] {
        withUnsafeBytes(of: UInt64(clamping: index).bigEndian) { Array($0) }
    }

    private static func open(_ folder: String) throws(RuntimeError) -> Int32 {
        let unnamed = Glibc.open(folder, O_RDWR | __O_TMPFILE | O_DIRECTORY | O_CLOEXEC, 0o600)
        if unnamed >= 0 { return unnamed }
        // Some file systems know no files without a name: it is taken away at once.
        let mark: String
        do {
            mark = try SecureRandom.bytes(8).hex
        } catch {
            throw RuntimeError(.system, "no random bytes can be had for a snapshot", cause: error)
        }
        let path = "\(folder)/.snapshot.\(mark)"
        let descriptor = Glibc.open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw SystemFailure.error("make a snapshot") }
        unlink(path)
        return descriptor
    }
}
