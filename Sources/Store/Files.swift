import Core
import Glibc

/// Folders, as the files in them need them.
enum Folder {
    /// The folder that holds `path`.
    static func parent(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    /// Makes the folder and those above it that are missing, with mode 0700. Their names last: else what is synced in a
    /// new folder could be gone with it.
    static func create(_ path: String) throws(RuntimeError) {
        if mkdir(path, 0o700) == 0 { return try sync(parent(of: path)) }
        switch errno {
        case EEXIST: return
        case ENOENT:
            let parent = parent(of: path)
            guard parent != path, parent != "." else { throw SystemFailure.error("make a folder") }
            try create(parent)
            guard mkdir(path, 0o700) == 0 || errno == EEXIST else { throw SystemFailure.error("make a folder") }
            try sync(parent)
        default: throw SystemFailure.error("make a folder")
        }
    }

    /// Whether it is a folder of this user's that nobody else may write to.
    static func isOwn(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR && status.st_uid == geteuid()
            && status.st_mode & 0o022 == 0
    }

    /// Makes a new name in the folder last.
    static func sync(_ path: String) throws(RuntimeError) {
        let descriptor = Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw SystemFailure.error("open a folder") }
        defer { Glibc.close(descriptor) }
        guard fsync(descriptor) == 0 else { throw SystemFailure.error("write a folder to disk") }
    }
}

/// The system's refusals as errors of this house.
enum SystemFailure {
    /// For the call that has just set `errno`.
    static func error(_ doing: String) -> RuntimeError {
        let code = errno
        let words = strerror(code).map { String(cString: $0) } ?? "error \(code)"
        return RuntimeError(code == ENOSPC || code == EDQUOT ? .storageFull : .system, "cannot \(doing): \(words)")
    }
}

/// The right to use a store's files, held until the value goes. The kernel takes it back when the process dies.
final class FileLock: Sendable {
    private let descriptor: Int32

    private init(descriptor: Int32) { self.descriptor = descriptor }

    deinit { Glibc.close(descriptor) }

    /// Takes the lock file at `path`. Throws ``RuntimeError`` `.unavailable`, caused by ``StoreInUse``, where another
    /// store holds it. Nil when there is no such file and `creating` is false.
    static func take(_ path: String, creating: Bool) throws(RuntimeError) -> FileLock? {
        let flags = O_RDWR | O_NOFOLLOW | O_CLOEXEC | (creating ? O_CREAT : 0)
        let descriptor = Glibc.open(path, flags, 0o600)
        guard descriptor >= 0 else {
            if errno == ENOENT, !creating { return nil }
            throw SystemFailure.error("open the store's lock file")
        }
        let lock = FileLock(descriptor: descriptor)
        var attempts = 0
        while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
            guard errno == EWOULDBLOCK else { throw SystemFailure.error("lock the store") }
            guard attempts < Self.attempts else { throw StoreInUse.error }
            attempts += 1
            usleep(Self.pauseMicroseconds)
        }
        return lock
    }

    /// Takes the lock file at `path`, made where missing; waits for whoever holds it.
    static func wait(for path: String) throws(RuntimeError) -> FileLock {
        let descriptor = Glibc.open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw SystemFailure.error("open a lock file") }
        let lock = FileLock(descriptor: descriptor)
        while flock(descriptor, LOCK_EX) != 0 {
            guard errno == EINTR else { throw SystemFailure.error("take a lock file") }
        }
        return lock
    }

    /// A lock may outlive its holder for a moment: a child of it that has been forked and not yet become another
    /// program shares the descriptor.
    private static let attempts = 15
    private static let pauseMicroseconds: UInt32 = 20_000
}
