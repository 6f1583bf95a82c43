package import Core
import Glibc

/// A backup's file in the making. It has no name until it is whole, on disk and proven: whatever ends the program
/// before, the system takes it away.
package final class ArchiveDraft {
    private let path: String
    private let descriptor: Int32
    /// On file systems that know no files without a name.
    private var draftPath: String?
    package private(set) var bytes = 0
    private var unsynced = 0

    /// Brought to disk so often: all at once at the end would hold up whoever waits for the same disk.
    private static let syncBytes = 2 * 1024 * 1024

    /// Throws `.configuration` where `path` is taken and not to be replaced.
    package init(_ path: String, replacing: Bool) throws(RuntimeError) {
        self.path = path
        var status = stat()
        if !replacing, lstat(path, &status) == 0 {
            throw RuntimeError(.configuration, "\(path) is there already: give another name, or --force to replace it")
        }
        let folder = Folder.parent(of: path)
        let unnamed = Glibc.open(folder, O_RDWR | __O_TMPFILE | O_DIRECTORY | O_CLOEXEC, 0o600)
        if unnamed >= 0 {
            descriptor = unnamed
            return
        }
        let draft = "\(path).\(getpid()).partial"
        descriptor = Glibc.open(draft, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw SystemFailure.error("make \(path) (is its folder there, and may you write to it?)")
        }
        draftPath = draft
    }

    deinit {
        Glibc.close(descriptor)
        if let draftPath { unlink(draftPath) }
    }

    package func write(_ piece: [UInt8]) throws(RuntimeError) {
        var written = 0
        while written < piece.count {
            let count = piece.withUnsafeBytes { buffer in
                Glibc.write(descriptor, buffer.baseAddress.map { $0 + written }, buffer.count - written)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw SystemFailure.error("write \(path)") }
            written += count
        }
        bytes += piece.count
        unsynced += piece.count
        guard unsynced >= Self.syncBytes else { return }
        unsynced = 0
        guard fdatasync(descriptor) == 0 else { throw SystemFailure.error("write \(path) to disk") }
    }

    /// Brings it to disk, reads it once more from its beginning to its end, and only then gives it its name.
    package func publish(opening secret: (ArchiveHeader) throws(RuntimeError) -> ArchiveSecret) throws(RuntimeError)
        -> ArchiveSummary
    {
        guard fsync(descriptor) == 0 else { throw SystemFailure.error("write \(path) to disk") }
        let summary = try ArchiveFile(descriptor: dup(descriptor)).verify(opening: secret)
        let named = draftPath ?? "\(path).\(getpid()).partial"
        if draftPath == nil {
            guard linkat(AT_FDCWD, "/proc/self/fd/\(descriptor)", AT_FDCWD, named, AT_SYMLINK_FOLLOW) == 0 else {
                throw SystemFailure.error("name \(path)")
            }
        }
        draftPath = named
        failpoint("backup.finish")
        guard rename(named, path) == 0 else { throw SystemFailure.error("name \(path)") }
        draftPath = nil
        try Folder.sync(Folder.parent(of: path))
        return summary
    }
}

/// A backup's file, to be read.
package final class ArchiveFile {
    private let descriptor: Int32

    package init(_ path: String) throws(RuntimeError) {
        descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw SystemFailure.error("open \(path)") }
    }

    fileprivate init(descriptor: Int32) throws(RuntimeError) {
        self.descriptor = descriptor
        guard descriptor >= 0, lseek(descriptor, 0, SEEK_SET) == 0 else { throw SystemFailure.error("read the backup") }
    }

    deinit { Glibc.close(descriptor) }

    /// The head, as it stands in clear.
    package func header() throws(RuntimeError) -> ArchiveHeader {
        guard lseek(descriptor, 0, SEEK_SET) == 0 else { throw SystemFailure.error("read the backup") }
        return try ArchiveHeader(try read(ArchiveHeader.bytes))
    }

    /// Opens every chunk and every row. Throws `.wrongKey`, `.corrupt` with what is wrong, `.configuration` for a newer
    /// format.
    ///
    /// - Parameter secret: finds what opens it.
    package func verify(opening secret: (ArchiveHeader) throws(RuntimeError) -> ArchiveSecret) throws(RuntimeError)
        -> ArchiveSummary
    {
        try forEachRow(opening: secret) { _, _ in }
    }

    func forEachRow(
        opening secret: (ArchiveHeader) throws(RuntimeError) -> ArchiveSecret,
        _ body: (ArchiveCheck.Row, ArchiveSummary) throws(RuntimeError) -> Void
    ) throws(RuntimeError) -> ArchiveSummary {
        let header = try header()
        let key = try header.key(try secret(header))
        var reader = try ArchiveReader(header, key: key) { [self] count throws(RuntimeError) in try read(count) }
        var check = ArchiveCheck()
        while let record = try reader.next() {
            let row = try check.take(record)
            try body(row, check.summary)
        }
        return try check.finish()
    }

    private func read(_ count: Int) throws(RuntimeError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var filled = 0
        while filled < count {
            let got = bytes.withUnsafeMutableBytes { buffer in
                Glibc.read(descriptor, buffer.baseAddress.map { $0 + filled }, buffer.count - filled)
            }
            if got < 0, errno == EINTR { continue }
            guard got >= 0 else { throw SystemFailure.error("read the backup") }
            guard got > 0 else { break }
            filled += got
        }
        bytes.removeLast(count - filled)
        return bytes
    }
}
