import ArgumentParser
import Core

/// `igris-runtime swarm …`: the swarm as a whole, and its key.
struct SwarmVerbs: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "swarm", abstract: "Show and change the swarm: its state, its key, who is in it.",
        subcommands: [SwarmStatus.self, SwarmKey.self, SwarmJoin.self, SwarmRotate.self, SwarmEvict.self],
        defaultSubcommand: SwarmStatus.self)
}

/// `igris-runtime swarm status`
struct SwarmStatus: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show how the swarm is, as this host sees it.")

    @OptionGroup var page: PageOptions

    func run() async throws { try await page.show("/v1/swarm/status", inWords: Self.words) }

    private static func words(_ report: JSON) -> String {
        let troubles = SwarmSummary.troubles(report)
        var lines = [troubles.isEmpty ? "ok" : "ok, but:"] + troubles.map { "  \($0)" }
        lines.append(SwarmSummary.line(report))
        for channel in report["discovery"]?.array ?? [] {
            let words = ["channel", "state", "detail"].compactMap { channel[$0]?.string }
            lines.append("found by  " + words.joined(separator: "  "))
        }
        lines.append("digest  \(report["digest"]?.string ?? "?")")
        return lines.map { $0.shownOnTerminal + "\n" }.joined()
    }
}

/// The swarm in few words, for `status` and `swarm status`.
enum SwarmSummary {
    /// `swarm  3 hosts  phase steady  …`
    static func line(_ report: JSON) -> String {
        let members = report["members"]
        let alive = members?["alive"]?.integer ?? 0
        var words = ["swarm", alive == 1 ? "1 host" : "\(alive) hosts"]
        for key in ["phase", "role", "security"] {
            if let value = report[key]?.string { words.append("\(key) \(value)") }
        }
        if let id = report["swarm"]?.string { words.append("id \(id)") }
        if let count = report["operations"]?.integer { words.append("operations \(count)") }
        return words.joined(separator: "  ")
    }

    /// What an operator should look at, one sentence each.
    static func troubles(_ report: JSON) -> [String] {
        var troubles = (report["warnings"]?.array ?? []).compactMap(\.string)
        for state in ["suspect", "dead"] {
            guard let count = report["members"]?[state]?.integer, count > 0 else { continue }
            troubles.append("\(count == 1 ? "1 host is" : "\(count) hosts are") \(state): igris-runtime peers")
        }
        if let count = report["divergences"]?.integer, count > 0 {
            troubles.append("copies differed \(count) times since the start: the log says where")
        }
        if report["security"]?.string == "open" {
            troubles.append("the swarm is open: everyone on this network may read and write (mcp.open)")
        }
        if let rotation = report["rotation"], rotation["phase"]?.string != "retired" {
            troubles.append(SwarmRotate.sentence(rotation))
        }
        return troubles
    }
}
