import ArgumentParser
import Core
import Glibc

/// `igris-runtime demo`: what no single server can do, in half a minute and on one machine.
struct Demo: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Start hosts on this machine, kill those that answer, and see the answers finish.",
        discussion: """
            The hosts are a swarm of their own, with a key that nobody else has and in a folder that goes with them; a \
            daemon that runs here already is not touched.
            """)

    @Option(help: "How many hosts; 3 to 8.")
    var nodes = 3

    private static let question = "Remember: my name is Alice"
    /// Slow enough to be watched, and caught.
    private static let pace = 20

    func validate() throws {
        guard (3...8).contains(nodes) else { throw ValidationError("--nodes takes 3 to 8") }
    }

    func run() async throws {
        try await reporting {
            let folder = try DemoFolder()
            do {
                try await play(in: folder)
            } catch {
                await folder.remove()
                throw error
            }
            await folder.remove()
        }
    }

    private func play(in folder: DemoFolder) async throws {
        let hosts = try (0..<nodes).map { try folder.host($0) }
        // The first one cannot write what it is asked: it is the host that the client is connected with.
        for (number, host) in hosts.enumerated() {
            try host.configure(model: number == 0 ? "other" : "igris-recall", pace: Self.pace, beside: hosts)
        }
        try await DemoHost.running(hosts, key: folder.key) { try await play($0) }
    }

    private func play(_ hosts: [DemoHost]) async throws {
        Terminal.write(
            "\(hosts.count) hosts: \(hosts.map { "\($0.name) on port \($0.port)" }.joined(separator: ", "))\n")
        for host in hosts { try await host.knows(hosts.count) }
        Terminal.write("they have found one another\n\n1. The host that writes is killed.\n")
        let asked = hosts[0]
        let first = try await DemoAnswer.ask(asked, Self.question, among: hosts) { try await $0.writing(in: hosts) }
        Terminal.write("   the same stream, finished by another host\n\n")

        let left = hosts.filter { $0.name != first.killed }
        Terminal.write("2. The host that the client is connected with is killed.\n")
        let second = try await DemoAnswer.ask(asked, Self.question, among: left) { $0 }
        guard let other = left.last else { return }
        let known = second.text.utf8.count
        try await second.finish(at: other)
        Terminal.write(
            "   the rest, from \(other.name): GET /v1/streams/\(second.id) with Last-Event-ID: \(known)\n")
    }
}
