import ArgumentParser
import Core

/// `igris-runtime swarm rotate`: gives the swarm a fresh key.
struct SwarmRotate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rotate", abstract: "Give the swarm a fresh key, in three steps, while it works.",
        discussion: """
            The new key is handed to every member, then used, then the old one is refused. A step waits for every \
            member; asked again, it goes on where it stands. Only on a machine of the swarm itself.
            """)

    @OptionGroup var daemon: DaemonOptions

    @Flag(help: "Do not wait for members that are away: they will need the new key by swarm join.")
    var force = false

    @Option(help: "Seconds to wait for the end; 0 only begins.")
    var wait = 60

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
        guard (0...86_400).contains(wait) else { throw ValidationError("--wait takes 0 to 86400") }
    }

    func run() async throws {
        try await reporting {
            let client = try DaemonClient(daemon, environment: Environment.variables)
            var rotation = try await client.send(.post, "/v1/swarm/rotate", json: ["force": .bool(force)]).json()
            let deadline = ContinuousClock.now + .seconds(wait)
            var told = ""
            while true {
                let sentence = Self.sentence(rotation)
                if !json, sentence != told { Terminal.write(sentence.shownOnTerminal + "\n") }
                told = sentence
                if rotation["phase"]?.string == "retired" || ContinuousClock.now >= deadline { break }
                try await Task.sleep(for: .milliseconds(250))
                let status = try await client.send(.get, "/v1/swarm/status").json()
                if let latest = status["rotation"] { rotation = latest }
            }
            if json { Terminal.write(rotation.text + "\n") }
            guard rotation["phase"]?.string == "retired" else {
                if wait > 0 { Terminal.complain("not done yet; it goes on by itself: igris-runtime swarm status") }
                throw wait > 0 ? Exit.tryAgain : ExitCode.success
            }
            if !json {
                Terminal.write("hosts that join from now on need the new key: igris-runtime swarm key --reveal\n")
            }
        }
    }

    /// Where a rotation stands.
    static func sentence(_ rotation: JSON) -> String {
        let confirmed = rotation["confirmed"]?.array?.count ?? 0
        let waiting = (rotation["waiting"]?.array ?? []).compactMap { $0.string.map(Peers.short) }
        let total = confirmed + waiting.count
        let rest = waiting.isEmpty ? "" : "; waits for \(waiting.joined(separator: ", "))"
        switch rotation["phase"]?.string {
        case "install": return "key rotation: the new key is handed out, \(confirmed) of \(total) hosts have it\(rest)"
        case "use": return "key rotation: the new key is in use on \(confirmed) of \(total) hosts\(rest)"
        default: return "key rotation: done, the old key is refused"
        }
    }
}
