import ArgumentParser
import Core
import Glibc
import Settings
import Store

/// `igris-runtime restore FILE`
struct Restore: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make this host's store of a backup; the daemon must not run.",
        discussion: """
            Also on a new machine: it becomes a host of its own and goes on with all conversations. In a swarm it gets \
            what came after the backup from the others, and nothing that they have is lost. What the settings name a \
            key for is sealed with that (mcp.encryption_key), else with this machine's own.
            """)

    @OptionGroup var settings: SettingsOptions
    @OptionGroup var secret: SecretOption

    @Flag(help: "Put a store that is there aside, under a name that is told, and take its place.")
    var force = false

    @Flag(help: "Print JSON.")
    var json = false

    @Argument(help: "The backup.", completion: .file())
    var file: String

    func run() async throws {
        try await reporting {
            let settings = try settings.load()
            guard settings.mcp.persist else {
                throw RuntimeError(.configuration, "this host keeps nothing on disk (mcp.persist is false)")
            }
            let folder = try StateFolder(environment: Environment.variables)
            let secrets = BackupSecrets(ring: try folder.naming { try SwarmKeyRing.resolve(settings, folder: folder) })
            let given = try secret.text()
            let archive = try ArchiveFile(file)
            let restore = StoreRestore(
                path: settings.mcp.storagePath, key: try Storage.key(settings, folder).store,
                hostname: Storage.hostname(), anchorFolder: folder.anchors)
            let result = try restore.run(
                archive, opening: { header throws(RuntimeError) in try secrets.opening(header, given: given) },
                replacing: force, at: UInt64(clamping: time(nil)))
            if json {
                guard case .object(var object) = result.summary.json(nil) else { return }
                object["store"] = .string(settings.mcp.storagePath)
                object["aside"] = result.aside.map { .string($0) } ?? .null
                return Terminal.write(JSON.object(object).text + "\n")
            }
            Terminal.write("restored \(settings.mcp.storagePath): \(result.summary.words)\n")
            if let aside = result.aside { Terminal.write("the store that was there is now \(aside)\n") }
            Terminal.write("start the daemon: it goes on from there\n")
        }
    }
}
