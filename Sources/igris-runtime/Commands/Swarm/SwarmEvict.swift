import ArgumentParser
import Core

/// `igris-runtime swarm evict HOST`: shuts a lost or stolen host out.
struct SwarmEvict: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "evict", abstract: "Shut a host out of the swarm, for good and on all hosts.",
        discussion: """
            Its identity is refused from now on, and the swarm's key changes without it: what it had it keeps, what \
            comes it does not get. Only on a machine of the swarm itself.
            """)

    @OptionGroup var daemon: DaemonOptions

    @Argument(help: "The host's name or id, as igris-runtime peers shows it; the beginning of an id will do.")
    var host: String

    @Flag(help: "Only show which host is meant.")
    var dryRun = false

    @Flag(help: "Print JSON.")
    var json = false

    func run() async throws {
        try await reporting {
            let client = try DaemonClient(daemon, environment: Environment.variables)
            let nodes = try await client.send(.get, "/v1/swarm/nodes").json()["nodes"]?.array ?? []
            let (id, name) = try Self.find(host, among: nodes)
            let words = "\(name) (\(id))".shownOnTerminal
            if dryRun {
                Terminal.write(json ? (["would_evict": .string(id)] as JSON).text + "\n" : "would evict \(words)\n")
                return
            }
            let reply = try await client.send(.post, "/v1/swarm/evict", json: ["id": .string(id)]).json()
            if json {
                Terminal.write(reply.text + "\n")
            } else {
                Terminal.write("evicted \(words)\n")
                let next =
                    reply["rotation"].map(SwarmRotate.sentence)
                    ?? "it still knows the swarm's key; change that: igris-runtime swarm rotate --force"
                Terminal.write(next.shownOnTerminal + "\n")
            }
        }
    }

    /// The one other host that `text` names. Throws ``RuntimeError`` `.invalidRequest` when it is none or several.
    static func find(_ text: String, among nodes: [JSON]) throws(RuntimeError) -> (id: String, name: String) {
        let others = nodes.filter { $0["self"]?.bool != true }
        let exact = others.filter { $0["name"]?.string == text || $0["id"]?.string == text.lowercased() }
        let begun =
            text.count >= 4 ? others.filter { $0["id"]?.string?.hasPrefix(text.lowercased()) == true } : []
        let found = exact.isEmpty ? begun : exact
        guard found.count == 1, let node = found.first else {
            throw RuntimeError(
                .invalidRequest,
                found.isEmpty
                    ? "no other host is called \(text); igris-runtime peers lists them"
                    : "\(found.count) hosts are called \(text); name the one that is meant by its id: "
                        + found.map(Self.whereabouts).joined(separator: ", "))
        }
        guard let id = node["id"]?.string else {
            throw RuntimeError(.invalidRequest, "\(text) never showed an identity that could be refused")
        }
        return (id, node["name"]?.string ?? "")
    }

    /// `047dcdc8d80e at 192.0.2.2:8081`
    private static func whereabouts(_ node: JSON) -> String {
        let id = node["id"]?.string.map(Peers.short) ?? "one without an id"
        return "\(id) at \(node["address"]?.string ?? "?")"
    }
}
