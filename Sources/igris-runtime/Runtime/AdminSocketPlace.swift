import Glibc

/// Where the daemon listens for its own user: `admin.PORT.sock` in the state folder, which nobody else may enter.
struct AdminSocketPlace {
    /// What to give to `bind` and `connect`. The address of a socket has 107 bytes: in a deeper folder it goes by a
    /// descriptor of the folder, which stays open.
    let path: String

    private static let longest = 100

    /// Nil where the folder is not there.
    init?(folder: StateFolder, port: Int) {
        let name = "admin.\(port).sock"
        let whole = "\(folder.path)/\(name)"
        if whole.utf8.count <= Self.longest {
            path = whole
            return
        }
        let descriptor = open(folder.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        path = "/proc/self/fd/\(descriptor)/\(name)"
    }
}
