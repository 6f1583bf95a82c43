import Core
import Cryptography
import Glibc
import Logging
import Settings
import Store

/// The store of conversations and the keys that belong to it.
struct Storage {
    var store: SQLiteContextStore
    var identity: NodeIdentity
    var ring: SwarmKeyRing

    /// For the hashes by which a resent history is recognised: the same on all hosts that began with one key.
    var prefixKey: SymmetricKey { ring.root.index }

    /// Opens what the settings name. A file that another daemon of this machine holds is left to it: this one takes
    /// `<name>.<port>.db` beside it, and comes back to that whichever of the two starts first.
    static func open(settings: Settings, folder: StateFolder, log: Logger) async throws -> Storage {
        let (key, configured) = try key(settings, folder)
        let ring = try folder.naming {
            try SwarmKeyRing.resolve(directory: folder.path, configured: configured, isOpen: settings.mcp.open)
        }
        let path = settings.mcp.storagePath
        let own = ownPath(path, port: settings.server.port)
        if settings.mcp.persist, access(own, F_OK) == 0 { return try await open(own, settings, key, ring, folder, log) }
        do {
            return try await open(path, settings, key, ring, folder, log)
        } catch let error as RuntimeError where error.isStoreInUse {
            log.notice(
                "the store is in use by another instance; this one keeps its own beside it",
                metadata: ["store.name": "\(own.split(separator: "/").last ?? "")"])
            return try await open(own, settings, key, ring, folder, log)
        }
    }

    /// What seals this host's store, and the swarm's key where the settings give one.
    static func key(_ settings: Settings, _ folder: StateFolder) throws -> (store: StoreKey, swarm: SymmetricKey?) {
        guard let text = settings.mcp.encryptionKey else {
            return (.device(try folder.naming { try DeviceKey.loadOrCreate(directory: folder.path) }), nil)
        }
        let parsed = try SwarmKeyText.parse(text.reveal())
        return (.custom(parsed), parsed)
    }

    private static func open(
        _ path: String, _ settings: Settings, _ key: StoreKey, _ ring: SwarmKeyRing, _ folder: StateFolder,
        _ log: Logger
    ) async throws -> Storage {
        let identityFolder = folder.identityFolder(forStoreAt: path)
        let identity = try folder.naming { try NodeIdentity.loadOrCreate(directory: identityFolder) }
        do {
            let store = try await SQLiteContextStore.open(
                settings.mcp.persist ? .file(path) : .memory, key: key, node: identity.node, hostname: hostname(),
                identityFolder: identityFolder, anchorFolder: folder.anchors)
            for row in store.mended {
                log.warning(
                    "a row of the store was damaged or taken away, and has been made anew from the others",
                    metadata: ["store.row": "\(row)"])
            }
            return Storage(store: store, identity: identity, ring: ring)
        } catch let error as RuntimeError where error.code == .system {
            throw RuntimeError(
                .system,
                "\(error.message). The store is to be \(path): see that its folder can be made and written by this user, "
                    + "or name another place with mcp.storage_path", cause: error)
        }
    }

    /// `mcp_contexts.db` and 8081 give `mcp_contexts.8081.db`.
    static func ownPath(_ path: String, port: Int) -> String {
        let folder = path.lastIndex(of: "/").map { path[...$0] } ?? ""
        let name = path.dropFirst(folder.count)
        guard let dot = name.lastIndex(of: "."), dot != name.startIndex else { return "\(path).\(port)" }
        return "\(folder)\(name[..<dot]).\(port)\(name[dot...])"
    }

    static func hostname() -> String {
        var name = [CChar](repeating: 0, count: 256)
        guard gethostname(&name, name.count - 1) == 0 else { return "" }
        return String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
}
