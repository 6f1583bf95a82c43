import ArgumentParser
import Core
import Glibc
import Logging
import Settings
import Store

/// `igris-runtime backup …`
struct Backup: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Back up everything that is kept, sealed, while the daemon works; or check a backup.",
        usage: """
            igris-runtime backup FILE [--secret FILE]
            igris-runtime backup verify FILE [--secret FILE]
            """,
        discussion: """
            The file holds all conversations, tokens and the audit log, but no keys, settings or models. It is sealed \
            with the swarm's key, so every host of the swarm can restore it (igris-runtime restore); with --secret it is \
            sealed with a passphrase instead. The file appears once it is whole, on disk, and every row in it has been \
            opened again.
            """,
        subcommands: [BackupMaking.self, BackupVerification.self], defaultSubcommand: BackupMaking.self)
}

/// What opens a backup, where it is not this host's swarm's key.
struct SecretOption: ParsableArguments {
    @Option(
        help: """
            A file with the passphrase (or, to open, with the key of another swarm); - reads standard input. Also \
            $IGRIS_BACKUP_SECRET.
            """)
    var secret: String?

    /// Nil where none was given.
    func text() throws -> String? {
        guard let secret else {
            let text = Environment.variables["IGRIS_BACKUP_SECRET"] ?? ""
            return text.isEmpty ? nil : text
        }
        let text = secret == "-" ? String(decoding: Terminal.readAll(limit: 4_096), as: UTF8.self) : try read(secret)
        let line = String(text.prefix { !$0.isNewline })
        guard !line.isEmpty else { throw RuntimeError(.configuration, "\(secret) holds no secret in its first line") }
        return line
    }

    private func read(_ path: String) throws -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw RuntimeError(.configuration, "\(path) cannot be read") }
        defer { close(descriptor) }
        var buffer = [UInt8](repeating: 0, count: 4_096)
        let count = Glibc.read(descriptor, &buffer, buffer.count)
        return String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
    }
}

/// `igris-runtime backup FILE`
struct BackupMaking: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "make", abstract: "Write a backup (the default).")

    @OptionGroup var daemon: DaemonOptions
    @OptionGroup var secret: SecretOption

    @Flag(help: "Replace a file of that name.")
    var force = false

    @Flag(help: "Print JSON.")
    var json = false

    @Argument(help: "The file to write.", completion: .file())
    var file: String

    func run() async throws {
        var left: UInt64 = 0
        try await reporting {
            let settings = try daemon.settings()
            let folder = try StateFolder(environment: Environment.variables)
            let secrets = BackupSecrets(ring: try folder.naming { try SwarmKeyRing.resolve(settings, folder: folder) })
            let passphrase = try secret.text()
            if let passphrase, passphrase.utf8.count < BackupSecrets.shortestPassphrase {
                throw RuntimeError(
                    .configuration, "a passphrase has at least \(BackupSecrets.shortestPassphrase) characters")
            }
            let draft = try ArchiveDraft(file, replacing: force)
            let client = try DaemonClient(daemon, environment: Environment.variables)
            if try await isServed(client) {
                try await fetch(from: client, passphrase, into: draft)
            } else {
                try await read(settings, folder, secrets, passphrase, into: draft)
            }
            let bytes = draft.bytes
            let summary = try draft.publish { header throws(RuntimeError) in
                try secrets.opening(header, given: header.sealing == .passphrase ? passphrase : nil)
            }
            left = summary.counts.left
            Terminal.write(json ? summary.json(bytes).text + "\n" : "wrote \(file): \(summary.words)\n")
        }
        guard left > 0 else { return }
        Terminal.complain("\(left) rows no longer open and are not in the backup; igris-runtime verify names them")
        throw Exit.failure
    }

    /// Whether a daemon answers. Of another machine one must.
    private func isServed(_ client: DaemonClient) async throws -> Bool {
        do {
            _ = try await client.send(.get, "/livez")
            return true
        } catch let error as RuntimeError where error.code == .unavailable && daemon.url == nil {
            return false
        }
    }

    private func fetch(from client: DaemonClient, _ passphrase: String?, into draft: ArchiveDraft) async throws {
        var refusal: [UInt8] = []
        let body: JSON = passphrase.map { ["passphrase": .string($0)] } ?? [:]
        let status = try await client.exchange(.post, "/v1/admin/backup", body) { status, piece in
            if status == 200 {
                try draft.write(piece)
            } else if refusal.count < Limits.bodyBytes {
                refusal += piece
            }
        }
        guard status == 200 else { throw DaemonClient.Reply.error(status: status, try? JSON.parse(refusal)) }
    }

    /// Of a daemon that does not run.
    private func read(
        _ settings: Settings, _ folder: StateFolder, _ secrets: BackupSecrets, _ passphrase: String?,
        into draft: ArchiveDraft
    ) async throws {
        let path = settings.mcp.storagePath
        guard settings.mcp.persist, access(path, F_OK) == 0 else {
            throw RuntimeError(
                .unavailable,
                "no daemon answers at \(try daemon.address(environment: Environment.variables)), and there is no store at \(path)"
            )
        }
        let storage = try await Storage.open(
            settings: settings, folder: folder, log: Logger(label: "igris") { _ in SwiftLogNoOpLogHandler() })
        if let refusal = storage.store.refusal { throw refusal }
        let backup = try await storage.store.makeBackup(
            sealedBy: try secrets.sealing(passphrase: passphrase), version: IgrisRuntime.version,
            at: UInt64(clamping: time(nil)))
        while let piece = try await backup.next() { try draft.write(piece) }
        await storage.store.close()
    }
}

/// `igris-runtime backup verify FILE`
struct BackupVerification: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Open every row of a backup, and count them.")

    @OptionGroup var settings: SettingsOptions
    @OptionGroup var secret: SecretOption

    @Flag(help: "Print JSON.")
    var json = false

    @Argument(help: "The backup.", completion: .file())
    var file: String

    func run() async throws {
        try await reporting {
            let settings = try settings.load()
            let folder = try StateFolder(environment: Environment.variables)
            let secrets = BackupSecrets(ring: try folder.naming { try SwarmKeyRing.resolve(settings, folder: folder) })
            let given = try secret.text()
            let archive = try ArchiveFile(file)
            let header = try archive.header()
            let summary = try archive.verify { header throws(RuntimeError) in
                try secrets.opening(header, given: given)
            }
            if json { return Terminal.write(summary.json(nil).text + "\n") }
            let made = Timestamp(since1970: header.made &* 1_000)
            Terminal.write(
                "ok: \(summary.words)\nmade \(made) by igris-runtime \(summary.version.shownOnTerminal) on host "
                    + "\(summary.node)\n")
            if summary.counts.left > 0 {
                Terminal.write("\(summary.counts.left) rows no longer opened when it was made, and are not in it\n")
            }
        }
    }
}

extension ArchiveSummary {
    var words: String {
        "\(conversations) conversation\(conversations == 1 ? "" : "s"), \(counts.operations) operations; all "
            + "\(counts.rows) rows open"
    }

    func json(_ bytes: Int?) -> JSON {
        var object = JSON.Object()
        object["conversations"] = .integer(Int64(clamping: conversations))
        object["operations"] = .integer(Int64(clamping: counts.operations))
        object["rows"] = .integer(Int64(clamping: counts.rows))
        object["left_out"] = .integer(Int64(clamping: counts.left))
        object["host"] = .string("\(node)")
        object["version"] = .string(version)
        if let bytes { object["bytes"] = .integer(Int64(bytes)) }
        return .object(object)
    }
}
