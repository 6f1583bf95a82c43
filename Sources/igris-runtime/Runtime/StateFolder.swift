import Core
import Cryptography
import Glibc

/// Where this user's keys are kept, outside of every conversation store (XDG state folder; systemd's StateDirectory).
struct StateFolder {
    let path: String

    /// Throws ``RuntimeError`` `.configuration` when the environment names no place.
    init(environment: [String: String]) throws {
        if let folder = environment["STATE_DIRECTORY"]?.split(separator: ":").first {
            path = String(folder)
        } else if let folder = environment["XDG_STATE_HOME"], folder.hasPrefix("/") {
            path = "\(folder)/igris"
        } else if let home = environment["HOME"] ?? Self.homeOfUser {
            path = "\(home)/.local/state/igris"
        } else {
            throw RuntimeError(
                .configuration, "there is no folder for this host's keys; set HOME or XDG_STATE_HOME to one")
        }
    }

    /// Does what needs this folder. Its errors name no path, since others may reach a client: at the start they do, and
    /// say what else can be done.
    func naming<Value>(_ work: () throws -> Value) throws -> Value {
        do {
            return try work()
        } catch let error as RuntimeError where error.code == .system || error.code == .configuration {
            throw RuntimeError(
                error.code,
                "\(error.message). It belongs to \(path), where this user's keys are kept; XDG_STATE_HOME names another "
                    + "place for that folder", cause: error)
        }
    }

    /// One identity a store: two daemons of one user, or a copied store, are different hosts.
    func identityFolder(forStoreAt path: String) -> String {
        "\(self.path)/nodes/\(SHA256.hash(Array(path.utf8)).prefix(8).hex)"
    }

    /// What makes copies of a store worthless once something in it was deleted.
    var anchors: String { "\(path)/anchors" }

    /// Where the sockets of children may lie, the best first; a socket's path must be short.
    func socketPlaces(environment: [String: String]) -> [String] {
        let systemd = environment["RUNTIME_DIRECTORY"]?.split(separator: ":").first.map(String.init)
        return [systemd, environment["XDG_RUNTIME_DIR"], path, environment["TMPDIR"]].compactMap(\.self)
            .filter { $0.hasPrefix("/") }
    }

    private static var homeOfUser: String? {
        guard let entry = getpwuid(getuid()), let home = entry.pointee.pw_dir else { return nil }
        return String(cString: home)
    }
}
