import ArgumentParser
import Core

/// `igris-runtime verify`: does the store hold what was written, and do the others hold the same?
struct Verify: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Look at every row of the store, and compare each conversation with the other hosts' copies.",
        discussion: """
            Exit codes: 0 all is as it should be; 1 something was damaged, also where a peer's copy has put it right by
            now, or differs; 75 a host could not be asked; 69 no daemon answers.
            """)

    @OptionGroup var daemon: DaemonOptions

    @Flag(help: "Compare every conversation with each host of the swarm.")
    var peers = false

    @Flag(help: "Print JSON.")
    var json = false

    func run() async throws {
        var verdict = ""
        try await reporting {
            let client = try DaemonClient(daemon, environment: Environment.variables)
            let report = try await client.send(.post, "/v1/swarm/verify", json: ["peers": .bool(peers)]).json()
            verdict = report["verdict"]?.string ?? ""
            Terminal.write(json ? report.text + "\n" : Self.page(report))
        }
        switch verdict {
        case "ok": break
        case "incomplete": throw Exit.tryAgain
        default: throw Exit.failure
        }
    }

    static func page(_ report: JSON) -> String {
        let damaged = report["damaged"]?.array ?? []
        let lost = damaged.count { $0["repaired"]?.bool != true }
        let size = "\(count(report, "conversations", "conversation")), \(count(report, "operations", "operation"))"
        var lines: [String] = []
        switch (damaged.count, lost) {
        case (0, _): lines.append("ok: \(size), all as they were written")
        case (_, 0): lines.append("put right: \(damaged.count) of \(size) were damaged, and came back from a peer")
        default: lines.append("damaged: \(lost) of \(size); link a host that has them, or restore a copy of the store")
        }
        for item in damaged {
            let name = item["conversation"]?.string ?? item["stream"]?.string.map { "stream \($0)" } ?? "unknown"
            let state = item["repaired"]?.bool == true ? "put right" : "damaged"
            lines.append("  \(state)  conversation \(name)  operation \(item["operation"]?.string ?? "?")")
        }
        for peer in report["peers"]?.array ?? [] { lines += Self.lines(peer) }
        if report["peers"]?.array?.isEmpty == true { lines.append("no other host to compare with") }
        return lines.map { $0.shownOnTerminal + "\n" }.joined()
    }

    private static func lines(_ peer: JSON) -> [String] {
        let name = "\(peer["name"]?.string ?? "") \(peer["id"]?.string.map(Peers.short) ?? "")"
        if let failure = peer["why_not"]?.string { return ["\(name): not asked, \(failure)"] }
        let differences = peer["differences"]?.array ?? []
        guard !differences.isEmpty else { return ["\(name): equal"] }
        return ["\(name): \(differences.count) conversations differ"]
            + differences.map { item in
                let id = item["conversation"]?.string ?? "stream \(item["stream"]?.string ?? "?")"
                let here = item["here"]?["operations"]?.integer ?? 0
                let there = item["there"]?["operations"]?.integer ?? 0
                return "  \(id)  here \(here) operations, there \(there)"
            }
    }

    private static func count(_ report: JSON, _ key: String, _ word: String) -> String {
        let number = report[key]?.integer ?? 0
        return "\(number) \(word)\(number == 1 ? "" : "s")"
    }
}
