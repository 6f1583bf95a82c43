import Core
import Glibc

/// A folder that only this user may enter, for one child's socket.
struct ServerSocket: Sendable {
    let path: String
    private let folder: String

    /// What NIO connects to; `sockaddr_un` has room for four more bytes on Linux.
    private static let longestPath = 103
    private static let prefix = "igris-engine-"
    private static let name = "s.sock"

    /// Makes the folder in the first of `places` that is there and short enough, at last in `/tmp`.
    ///
    /// - Throws: ``RuntimeError`` `.system` when there is no such place.
    init(places: [String]) throws(RuntimeError) {
        for place in places + ["/tmp"] {
            let pattern = "\(place)/\(Self.prefix)XXXXXX"
            guard pattern.utf8.count + 1 + Self.name.utf8.count <= Self.longestPath else { continue }
            Self.sweep(place)
            // mkdtemp makes it with mode 0700.
            var template = Array(pattern.utf8CString)
            guard mkdtemp(&template) != nil else { continue }
            folder = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
            path = "\(folder)/\(Self.name)"
            return
        }
        throw RuntimeError(
            .system,
            "there is no folder for the engine's socket; set XDG_RUNTIME_DIR to a folder that can be written to")
    }

    func remove() {
        unlink(path)
        rmdir(folder)
    }

    /// Removes what daemons that were killed left behind: sockets at which nobody listens.
    private static func sweep(_ place: String) {
        guard let entries = opendir(place) else { return }
        defer { closedir(entries) }
        var folders: [String] = []
        while let entry = readdir(entries) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name.hasPrefix(prefix), folders.count < 1_000 { folders.append("\(place)/\(name)") }
        }
        for folder in folders where isDead("\(folder)/\(Self.name)") {
            unlink("\(folder)/\(Self.name)")
            rmdir(folder)
        }
    }

    private static func isDead(_ path: String) -> Bool {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        guard path.utf8.count <= longestPath else { return false }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let status = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        return status != 0 && errno == ECONNREFUSED
    }
}
