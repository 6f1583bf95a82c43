import ArgumentParser
import Core

/// `igris-runtime logs`: what has happened?
struct Logs: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show the latest events of the daemon's log.",
        discussion: "The daemon keeps the last two thousand in memory; all of them go to its standard error.")

    @OptionGroup var daemon: DaemonOptions

    @Flag(name: .shortAndLong, help: "Go on with what comes, until Ctrl-C.")
    var follow = false

    @Option(help: "Only what came after this time, as 2026-11-21T07:50:00Z, or after a cursor of --json.")
    var since: String?

    @Option(name: [.customShort("n"), .long], help: "How many at most, from 1 to 1000.")
    var lines = 200

    @Flag(help: "Print JSON, one event a line.")
    var json = false

    func validate() throws {
        guard (1...1_000).contains(lines) else { throw ValidationError("--lines takes 1 to 1000") }
    }

    func run() async throws {
        try await reporting {
            let client = try DaemonClient(daemon, environment: Environment.variables)
            // As it is where it is a time or a cursor; anything else is refused by the daemon.
            var since = since.map { $0.filter { $0.isASCII && !$0.isWhitespace && $0 != "&" && $0 != "#" } }
            while true {
                let path = "/v1/logs?limit=\(lines)" + (since.map { "&since=\($0)" } ?? "")
                let page = try await client.send(.get, path).json()
                if page["lost"]?.bool == true { Terminal.complain("some events came too fast to be shown") }
                let events = page["data"]?.array ?? []
                for event in events { Terminal.write((json ? event.text : Self.line(event)) + "\n") }
                guard follow else { return }
                since = page["next"]?.integer.map { String($0) } ?? since
                // A full page has more behind it.
                if events.count < lines { try await Task.sleep(for: .milliseconds(500)) }
            }
        }
    }

    /// As the log itself shows it on a terminal.
    private static func line(_ event: JSON) -> String {
        let level = event["level"]?.string ?? "?"
        let padding = String(repeating: " ", count: max(0, 8 - level.count))
        var line = "\(event["time"]?.string ?? "?") \(level)\(padding) \(event["message"]?.string ?? "")"
        let shown: Set<String> = ["cursor", "time", "level", "label", "message"]
        for (key, value) in event.object?.members ?? [] where !shown.contains(key) {
            line += "  \(key)=\(value.string ?? value.text)"
        }
        return line.shownOnTerminal
    }
}
