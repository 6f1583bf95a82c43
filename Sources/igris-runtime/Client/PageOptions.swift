import ArgumentParser
import Core

/// A command that shows a page of the daemon: in words, or as the JSON that it came as.
struct PageOptions: ParsableArguments {
    @OptionGroup var daemon: DaemonOptions

    @Flag(help: "Print JSON.")
    var json = false

    func show(_ path: String, inWords words: (JSON) -> String) async throws {
        try await reporting {
            let client = try DaemonClient(daemon, environment: Environment.variables)
            let page = try await client.send(.get, path).json()
            Terminal.write(json ? page.text + "\n" : words(page))
        }
    }
}
