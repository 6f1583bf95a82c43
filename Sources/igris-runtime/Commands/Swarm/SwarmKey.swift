import ArgumentParser
import Core
import Cryptography
import Settings
import Store
import Swarm

/// `igris-runtime swarm key`: which swarm is this host in, and by which key?
struct SwarmKey: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "key", abstract: "Show which swarm this host is in and where its key comes from.",
        discussion: "igris-runtime swarm key --reveal | ssh OTHER igris-runtime swarm join -")

    @OptionGroup var settings: SettingsOptions

    @Flag(help: "Print the key itself, to give it to another host. Whoever has it can join and read everything.")
    var reveal = false

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        let settings = try settings.load()
        do {
            let folder = try StateFolder(environment: Environment.variables)
            let ring = try folder.naming { try SwarmKeyRing.resolve(settings, folder: folder) }
            // A rotation may have put another key in the place of the one that the host was given.
            let rotation = try KeyRotation(
                node: NodeID(Bytes16(high: 0, low: 0)), root: ring.root, saved: try ring.load())
            show(rotation.primary, ring, ring.origin(in: settings, folder: folder))
        } catch let error as RuntimeError {
            Terminal.complain(error.message)
            throw error.code == .configuration ? Exit.settings : Exit.failure
        }
    }

    private func show(_ keys: SwarmKeys, _ ring: SwarmKeyRing, _ origin: String) {
        let isRotated = keys.tag != ring.root.tag
        let key = keys.key.reveal().hex
        if json {
            var object = JSON.Object()
            object["swarm"] = .string(keys.tag.hex)
            object["source"] = .string(origin)
            object["rotated"] = .bool(isRotated)
            if reveal { object["key"] = .string(key) }
            Terminal.write(JSON.object(object).text + "\n")
        } else if reveal {
            Terminal.write(key + "\n")
        } else {
            Terminal.write("swarm  \(keys.tag.hex)\nkey    \(origin)\(isRotated ? ", rotated since" : "")\n")
            guard ring.source != .open else { return }
            Terminal.write("another host joins with: igris-runtime swarm join KEY, the KEY from --reveal here\n")
        }
    }
}

extension SwarmKeyRing {
    /// The key that the settings give this host, or its user's own, which is made where there is none.
    static func resolve(_ settings: Settings, folder: StateFolder) throws -> SwarmKeyRing {
        let configured =
            try settings.mcp.open ? nil : settings.mcp.encryptionKey.map { try SwarmKeyText.parse($0.reveal()) }
        return try resolve(directory: folder.path, configured: configured, isOpen: settings.mcp.open)
    }

    /// Where the key comes from, in words.
    func origin(in settings: Settings, folder: StateFolder) -> String {
        switch source {
        case .open: "none: this host is open to everyone on its network (mcp.open)"
        case .file: "\(folder.path)/\(Self.fileName)"
        case .configured:
            "mcp.encryption_key, from \(settings.source(of: "mcp.encryption_key").map { "\($0)" } ?? "the settings")"
        }
    }
}

extension Settings {
    /// Which source gave a key its value.
    func source(of key: String) -> ValueSource? { effective.first { $0.key == key }?.source }
}
