import Core
import Glibc

/// The configuration file as it lies on disk.
struct SettingsFile {
    var bytes: [UInt8]
    /// Users of this machine beside its owner and group may read it.
    var isReadableByOthers: Bool

    /// Reads a regular file of at most ``Limits/settingsFileBytes``.
    static func read(_ path: String) throws(SettingsError) -> SettingsFile {
        // Without O_NONBLOCK a named pipe would hang the start.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw problem(path, "cannot be opened: \(String(cString: strerror(errno)))") }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            throw problem(path, "cannot be read: \(String(cString: strerror(errno)))")
        }
        guard status.st_mode & S_IFMT == S_IFREG else { throw problem(path, "is not a regular file") }
        let limit = Limits.settingsFileBytes
        var bytes = [UInt8](repeating: 0, count: limit + 1)
        var count = 0
        while count < bytes.count {
            let room = bytes.count - count
            let got = bytes.withUnsafeMutableBytes { buffer in
                Glibc.read(descriptor, buffer.baseAddress.map { $0 + count }, room)
            }
            if got < 0, errno == EINTR { continue }
            guard got >= 0 else { throw problem(path, "cannot be read: \(String(cString: strerror(errno)))") }
            if got == 0 { break }
            count += got
        }
        guard count <= limit else { throw problem(path, "is larger than \(grouped(limit)) bytes") }
        return SettingsFile(bytes: Array(bytes.prefix(count)), isReadableByOthers: status.st_mode & S_IROTH != 0)
    }

    private static func problem(_ path: String, _ message: String) -> SettingsError {
        SettingsError(problems: [Problem(source: path, message: message)])
    }
}
