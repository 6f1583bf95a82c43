import ArgumentParser
import Core
import Cryptography
import Settings
import Store

/// `igris-runtime swarm join KEY`: makes this user's daemons on this machine members of another swarm.
struct SwarmJoin: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "join", abstract: "Give this machine the key of a swarm.",
        discussion: """
            The key is what igris-runtime swarm key --reveal prints on a host of the swarm. As an argument every user \
            of this machine can see it for a moment; - reads it from standard input.
            """)

    @OptionGroup var settings: SettingsOptions

    @Flag(help: "Print JSON.")
    var json = false

    @Argument(help: "The key, or - for standard input.")
    var key: String

    func run() throws {
        let settings = try settings.load()
        do {
            try join(settings)
        } catch let error as RuntimeError {
            Terminal.complain(error.message)
            throw error.code == .configuration ? Exit.settings : Exit.failure
        }
    }

    private func join(_ settings: Settings) throws {
        if settings.mcp.open {
            throw RuntimeError(
                .configuration, "this host is open, and an open host has no key: take mcp.open out of its settings")
        }
        if let source = settings.source(of: "mcp.encryption_key"), settings.mcp.encryptionKey != nil {
            throw RuntimeError(
                .configuration, "mcp.encryption_key is set by \(source) and wins over the key file: put the key there")
        }
        if key == "-", Terminal.isInteractive { Terminal.complain("paste the key, then press Enter and Ctrl-D") }
        let text = key == "-" ? String(decoding: Terminal.readAll(limit: 4_096), as: UTF8.self) : key
        guard text.contains(where: { !$0.isWhitespace }) else {
            throw RuntimeError(
                .configuration,
                "\(key == "-" ? "standard input holds no key" : "the key is empty"); on a host of the swarm, "
                    + "igris-runtime swarm key --reveal prints it")
        }
        let parsed = try SwarmKeyText.parse(text)
        let folder = try StateFolder(environment: Environment.variables)
        let keys: SwarmKeys
        do {
            keys = try SwarmKeys(parsed)
        } catch {
            throw RuntimeError(.internal, "the swarm's keys could not be derived", cause: error)
        }
        try folder.naming { try SwarmKeyRing.join(parsed, directory: folder.path) }
        if json {
            let report: JSON = [
                "swarm": .string(keys.tag.hex), "file": .string("\(folder.path)/\(SwarmKeyRing.fileName)"),
            ]
            Terminal.write(report.text + "\n")
            return
        }
        Terminal.write(
            """
            swarm  \(keys.tag.hex)
            key    \(folder.path)/\(SwarmKeyRing.fileName)
            Its other hosts show the same id with igris-runtime swarm key; if not, the key was not copied whole.
            Start the daemon again for the key to count. The conversations of this host stay, and will be shared with \
            every host of the swarm, as theirs will be with this one; conversations of the same name become one.

            """)
    }
}
