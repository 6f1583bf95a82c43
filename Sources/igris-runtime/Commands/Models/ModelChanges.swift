import ArgumentParser
import Core
import Glibc

/// `igris-runtime models add FILE`
struct ModelAddition: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "add", abstract: "Serve a model file of this machine, from now on and after restarts.",
        discussion: "The file is linked or copied into the daemon's own folder. Only on the daemon's machine.")

    @OptionGroup var page: PageOptions

    @Option(help: "What requests call it; without it the file's name without .gguf.")
    var name: String?

    @Argument(help: "The GGUF file.", completion: .file(extensions: ["gguf"]))
    var file: String

    func run() async throws {
        try await reporting {
            let client = try DaemonClient(page.daemon, environment: Environment.variables)
            var body = JSON.Object()
            body["path"] = .string(try Self.absolute(file))
            if let name { body["name"] = .string(name) }
            // The whole file is read for its hash.
            let reply = try await client.send(
                .post, "/v1/admin/models", json: .object(body), patience: .seconds(3_600)
            ).json()
            let words = "added \((reply["added"]?.string ?? "?").shownOnTerminal)\n"
            Terminal.write(page.json ? reply.text + "\n" : words)
        }
    }

    /// The daemon has another working folder.
    private static func absolute(_ path: String) throws -> String {
        guard let resolved = realpath(path, nil) else {
            throw RuntimeError(.invalidRequest, "\(path) is not there, or may not be seen")
        }
        defer { free(resolved) }
        return String(cString: resolved)
    }
}

/// `igris-runtime models rm NAME`
struct ModelRemoval: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rm", abstract: "Forget a model that was added or copied; its file in the daemon's folder goes.")

    @OptionGroup var page: PageOptions

    @Argument(help: "The model's name.")
    var name: String

    func run() async throws {
        try await reporting {
            let client = try DaemonClient(page.daemon, environment: Environment.variables)
            let reply = try await client.send(.delete, "/v1/admin/models/\(DaemonClient.escaped(name))").json()
            Terminal.write(page.json ? reply.text + "\n" : "removed \(name.shownOnTerminal)\n")
        }
    }
}

/// `igris-runtime models copy HOST:NAME`
struct ModelCopying: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "copy", abstract: "Copy a model from another host of the swarm, and serve it.",
        discussion: """
            The file is checked against its hash. A copy that breaks off, or is stopped with Ctrl-C, goes on where it \
            was when the same command is given again. Only on the daemon's machine.
            """)

    @OptionGroup var page: PageOptions

    @Option(help: "What it is to be called here; without it as there.")
    var name: String?

    @Argument(help: "HOST:NAME: the host's name or id, as igris-runtime peers shows it, and the model's name there.")
    var model: String

    func run() async throws {
        try await reporting {
            let parts = model.split(separator: ":", maxSplits: 1)
            guard parts.count == 2 else {
                throw RuntimeError(.invalidRequest, "write HOST:NAME; igris-runtime models ls shows who has which")
            }
            let client = try DaemonClient(page.daemon, environment: Environment.variables)
            var body = JSON.Object()
            body["host"] = .string(String(parts[0]))
            body["model"] = .string(String(parts[1]))
            if let name { body["name"] = .string(name) }
            try await follow(client, .object(body))
        }
    }

    private func follow(_ client: DaemonClient, _ body: JSON) async throws {
        var text: [UInt8] = []
        var last: JSON?
        let status = try await client.exchange(.post, "/v1/admin/model-copies", body) { status, bytes in
            text += bytes
            guard status == 200 else { return }
            while let end = text.firstIndex(of: UInt8(ascii: "\n")) {
                let line = try JSON.parse(Array(text[..<end]))
                text.removeSubrange(...end)
                last = line
                tell(line)
            }
            guard text.count <= Limits.bodyBytes else { throw RuntimeError(.tooLarge, "the daemon's line is too long") }
        }
        guard status == 200 else { throw DaemonClient.Reply.error(status: status, try? JSON.parse(text)) }
        if let message = last?["error"]?["message"]?.string {
            throw RuntimeError(.unavailable, message.shownOnTerminal)
        }
        guard last?["status"]?.string == "success" else {
            throw RuntimeError(.unavailable, "the daemon closed the connection; the same command goes on with the copy")
        }
        if Terminal.isInteractive { Terminal.write("\n") }
        let name = (last?["model"]?.string ?? "?").shownOnTerminal
        if !page.json { Terminal.write("copied \(name)\n") }
    }

    private func tell(_ line: JSON) {
        if page.json { return Terminal.write(line.text + "\n") }
        guard Terminal.isInteractive, let done = line["completed"]?.integer, let total = line["total"]?.integer,
            total > 0
        else { return }
        let word = line["status"]?.string == "checking" ? "checking" : "copying"
        Terminal.write(
            "\r\(word)  \(ModelsThereAre.size(done)) of \(ModelsThereAre.size(total))  \(Int(Double(done) / Double(total) * 100)) %   "
        )
    }
}
