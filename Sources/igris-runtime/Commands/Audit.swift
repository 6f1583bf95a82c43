import ArgumentParser
import Core

/// `igris-runtime audit`: who was refused, and who changed what?
struct Audit: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show who was refused and who changed what only an admin may change.",
        discussion: """
            Entries are kept sealed, chained and signed in the replicated log, and copied to every host. Repeated refusals \
            of one minute are one entry. Only on the machine itself, or with a token of the scope admin.
            """, subcommands: [AuditShowing.self, AuditVerification.self], defaultSubcommand: AuditShowing.self)
}

/// `igris-runtime audit [-f]`
struct AuditShowing: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "show", abstract: "Show the latest entries.")

    @OptionGroup var daemon: DaemonOptions

    @Flag(name: .shortAndLong, help: "Go on with what comes, until Ctrl-C.")
    var follow = false

    @Option(name: [.customShort("n"), .long], help: "How many at most, from 1 to 1000.")
    var lines = 200

    @Option(help: "Of the host of this id; this one if left out.")
    var host: String?

    @Flag(help: "Print JSON, one entry a line.")
    var json = false

    func validate() throws {
        guard (1...1_000).contains(lines) else { throw ValidationError("--lines takes 1 to 1000") }
    }

    func run() async throws {
        try await reporting {
            let client = try DaemonClient(daemon, environment: Environment.variables)
            let query = "limit=\(lines)" + (host.map { "&host=\(DaemonClient.escaped($0))" } ?? "")
            var after: Int64?
            while true {
                let path = "/v1/admin/audit?\(query)" + (after.map { "&after=\($0)" } ?? "")
                let entries = try await client.send(.get, path).json()["data"]?.array ?? []
                for entry in entries { Terminal.write((json ? entry.text : Self.line(entry)) + "\n") }
                guard follow else { return }
                after = entries.last?["number"]?.integer ?? after ?? 0
                if entries.count < lines { try await Task.sleep(for: .milliseconds(500)) }
            }
        }
    }

    private static func line(_ entry: JSON) -> String {
        let names = ["at", "kind", "action", "target", "status", "code", "caller", "token", "address"]
        var line = "\(entry["number"]?.integer ?? 0)"
        for name in names {
            guard let value = entry[name], value != "" else { continue }
            let text = value.string ?? value.text
            line += ["at", "kind", "action"].contains(name) ? "  \(text)" : "  \(name)=\(text)"
        }
        if let count = entry["count"]?.integer, count > 1 { line += "  \(count) times" }
        return line.shownOnTerminal
    }
}

/// `igris-runtime audit verify`
struct AuditVerification: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Look at the whole chain, and name the first link that does not hold.")

    @OptionGroup var page: PageOptions

    @Option(help: "Of the host of this id; this one if left out.")
    var host: String?

    func run() async throws {
        try await reporting {
            let client = try DaemonClient(page.daemon, environment: Environment.variables)
            let path = "/v1/admin/audit?verify=1&limit=1" + (host.map { "&host=\(DaemonClient.escaped($0))" } ?? "")
            let reply = try await client.send(.get, path, patience: .seconds(120)).json()
            if page.json { Terminal.write(reply.text + "\n") }
            let count = reply["entries"]?.integer ?? 0
            guard reply["intact"]?.bool != true else {
                if !page.json { Terminal.write("\(count) entries, and every link holds\n") }
                return
            }
            let (number, reason) = (reply["broken"]?["number"]?.integer, reply["broken"]?["reason"]?.string)
            throw RuntimeError(
                .corrupt,
                "the chain breaks at entry \(number ?? 0): \(reason ?? "it is not told why"); of \(count) entries those "
                    + "before it are as they were written")
        }
    }
}
