import ArgumentParser
import Core

/// `igris-runtime drain`: empties the daemon before it is stopped.
struct DrainHost: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "drain", abstract: "Give the daemon's work to the other hosts, before it is stopped or upgraded.",
        discussion: """
            What it answers goes on at other hosts that have the model, in the same streams; new requests go there too. \
            It goes on taking requests, and answers itself what no other host can. Returns once its engines are idle. \
            Only on the machine itself.
            """)

    @OptionGroup var daemon: DaemonOptions

    @Flag(help: "Take work again.")
    var off = false

    @Option(help: "Seconds to wait for its engines to become idle.")
    var wait = 60

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
        guard (0...86_400).contains(wait) else { throw ValidationError("--wait takes 0 to 86400 seconds") }
    }

    func run() async throws {
        try await reporting {
            let client = try DaemonClient(daemon, environment: Environment.variables)
            var report = try await client.send(.post, "/v1/admin/drain", json: ["on": .bool(!off)]).json()
            let end = ContinuousClock.now + .seconds(wait)
            while !off, Self.work(report) > 0, .now < end {
                try await Task.sleep(for: .milliseconds(100))
                report = try await client.send(.get, "/v1/admin/drain").json()
            }
            if json {
                Terminal.write(report.text + "\n")
            } else if off {
                Terminal.write("it takes work again\n")
            } else {
                Terminal.write(Self.work(report) > 0 ? "" : "it is empty and may be stopped\n")
            }
            if !off, Self.work(report) > 0 {
                throw RuntimeError(
                    .timedOut,
                    "\(Self.work(report)) requests are still with its engines after \(wait) s: no other host has their "
                        + "model, or they wait; run this again, or stop the daemon, which gives them 30 s more")
            }
        }
    }

    private static func work(_ report: JSON) -> Int64 {
        (report["running"]?.integer ?? 0) + (report["waiting"]?.integer ?? 0)
    }
}
