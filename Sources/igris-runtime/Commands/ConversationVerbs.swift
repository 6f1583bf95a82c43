import ArgumentParser
import Core

/// `igris-runtime conversations …`
struct ConversationVerbs: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "conversations", abstract: "List your conversations, or delete one on every host.",
        subcommands: [ConversationList.self, ConversationRemove.self], defaultSubcommand: ConversationList.self,
        aliases: ["conv"])
}

/// `igris-runtime conversations list`
struct ConversationList: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List your conversations, the latest first.", aliases: ["ls"])

    @OptionGroup var daemon: DaemonOptions

    @Option(help: "How many at most, from 1 to 1000.")
    var limit = 100

    @Flag(help: "Print JSON.")
    var json = false

    func run() async throws {
        try await reporting {
            let client = try DaemonClient(daemon, environment: Environment.variables)
            let page = try await client.send(.get, "/v1/mcp/contexts?limit=\(limit)").json()
            guard !json else { return Terminal.write(page.text + "\n") }
            var table = Table("ID", "TURNS", "UPDATED")
            for item in page["data"]?.array ?? [] {
                let updated = item["updated"]?.integer.map { seconds in
                    Timestamp(milliseconds: seconds.multipliedReportingOverflow(by: 1_000).partialValue).description
                }
                table.add(item["id"]?.string, item["turns"]?.integer.map { String($0) }, updated)
            }
            Terminal.write(table.text)
        }
    }
}

/// `igris-runtime conversations rm ID`
struct ConversationRemove: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rm", abstract: "Delete a conversation on every host, and show which have done it.")

    @OptionGroup var daemon: DaemonOptions

    @Argument(help: "The conversation's id.")
    var id: String

    @Option(help: "Seconds to wait for the other hosts, up to 30.")
    var wait = 2

    @Flag(help: "Print JSON.")
    var json = false

    func run() async throws {
        try await reporting {
            let client = try DaemonClient(daemon, environment: Environment.variables)
            let path = "/v1/mcp/contexts/\(DaemonClient.escaped(id))?wait=\(wait)"
            let report = try await client.send(.delete, path, patience: .seconds(45)).json()
            guard !json else { return Terminal.write(report.text + "\n") }
            let nodes = try await client.send(.get, "/v1/swarm/nodes").json()["nodes"]?.array ?? []
            let (done, pending) = (Self.names(report["confirmed"], nodes), Self.names(report["pending"], nodes))
            var lines = ["deleted \(id) on \(done.joined(separator: ", "))"]
            if !pending.isEmpty {
                lines.append("not yet on \(pending.joined(separator: ", ")): as soon as it hears of it")
            }
            Terminal.write(lines.map { $0.shownOnTerminal + "\n" }.joined())
        }
    }

    /// Names where they tell the hosts apart.
    private static func names(_ ids: JSON?, _ nodes: [JSON]) -> [String] {
        (ids?.array ?? []).compactMap(\.string).map { id in
            let name = nodes.first { $0["id"]?.string == id }?["name"]?.string ?? ""
            let isOnlyOne = nodes.count { $0["name"]?.string == name } == 1
            return isOnlyOne && !name.isEmpty ? name : "\(name) \(Peers.short(id))"
        }
    }
}
