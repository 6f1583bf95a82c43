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
    /// For the hashes by which a resent history is recognised; never leaves this host.
    var prefixKey: SymmetricKey

    /// Opens what the settings name. A file that another daemon of this machine holds is left to it: this one takes
    /// `<name>.<port>.db` beside it, and comes back to that whichever of the two starts first.
    static func open(settings: Settings, folder: StateFolder, log: Logger) async throws -> Storage {
        let key: StoreKey
        if let text = settings.mcp.encryptionKey {
            key = .custom(try SwarmKeyText.parse(text.reveal()))
        } else {
            key = .device(try DeviceKey.loadOrCreate(directory: folder.path))
        }
        let path = settings.mcp.storagePath
        let own = ownPath(path, port: settings.server.port)
        if settings.mcp.persist, access(own, F_OK) == 0 { return try await open(own, settings, key, folder) }
        do {
            return try await open(path, settings, key, folder)
        } catch let error as RuntimeError where error.isStoreInUse {
            log.notice(
                "the store is in use by another instance; this one keeps its own beside it",
                metadata: ["store.name": "\(own.split(separator: "/").last ?? "")"])
            return try await open(own, settings, key, folder)
        }
    }

    private static func open(
        _ path: String, _ settings: Settings, _ key: StoreKey, _ folder: StateFolder
    ) async throws -> Storage {
        let identityFolder = folder.identityFolder(forStoreAt: path)
        let identity = try NodeIdentity.loadOrCreate(directory: identityFolder)
        let store = try await SQLiteContextStore.open(
            settings.mcp.persist ? .file(path) : .memory, key: key, node: identity.node, hostname: hostname(),
            identityFolder: identityFolder)
        return Storage(store: store, identity: identity, prefixKey: try prefixKey(from: key))
    }

    private static func prefixKey(from key: StoreKey) throws -> SymmetricKey {
        switch key {
        case .custom(let key), .device(let key): try HKDF.derive(key: key, label: "igris-prefix-1")
        }
    }

    /// `mcp_contexts.db` and 8081 give `mcp_contexts.8081.db`.
    static func ownPath(_ path: String, port: Int) -> String {
        let folder = path.lastIndex(of: "/").map { path[...$0] } ?? ""
        let name = path.dropFirst(folder.count)
        guard let dot = name.lastIndex(of: "."), dot != name.startIndex else { return "\(path).\(port)" }
        return "\(folder)\(name[..<dot]).\(port)\(name[dot...])"
    }

    private static func hostname() -> String {
        var name = [CChar](repeating: 0, count: 256)
        guard gethostname(&name, name.count - 1) == 0 else { return "" }
        return String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
}
