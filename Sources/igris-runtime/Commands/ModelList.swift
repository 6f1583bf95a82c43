import ArgumentParser
import Core

/// `igris-runtime models`: what can answer.
struct ModelList: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "models", abstract: "List the daemon's models and how their engines are.")

    @OptionGroup var daemon: DaemonOptions

    @Flag(help: "Print JSON.")
    var json = false

    func run() async throws {
        try await reporting {
            let client = try DaemonClient(daemon, environment: Environment.variables)
            let status = try await client.send(.get, "/v1/status").json()
            let models = status["models"] ?? []
            if json {
                Terminal.write(models.text + "\n")
            } else {
                for model in models.array ?? [] { Terminal.write(Self.line(model) + "\n") }
            }
        }
    }

    /// Name, engine, state and why.
    static func line(_ model: JSON) -> String {
        var words = [model["name"]?.string ?? "?"]
        if let aliases = model["aliases"]?.array?.compactMap(\.string), !aliases.isEmpty {
            words.append("(\(aliases.joined(separator: ", ")))")
        }
        words.append(model["engine"]?.string ?? "?")
        words.append(model["state"]?.string ?? "?")
        if let context = model["context_length"]?.integer { words.append("context \(context)") }
        if let reason = model["reason"]?.string { words.append("- \(reason)") }
        return words.joined(separator: "  ")
    }
}
