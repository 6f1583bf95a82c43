import Core
import Logging
import Node

/// Work that hosts of the swarm do for one another: what this host asks of others, and what they ask of it.
struct SharedWork {
    let links: WorkLinks
    private let desk: WorkDesk
    private let transport: any PeerTransport

    init(_ transport: any PeerTransport, node: SwarmNode, models: Models, answers: LiveAnswers, log: Logger) {
        self.transport = transport
        links = WorkLinks(transport: transport, addresses: { await node.addresses(of: $0) })
        desk = WorkDesk(models: models, answers: answers, log: log)
    }

    /// Serves the others until the task is cancelled.
    func run() async { await desk.run(transport.accepted(for: .work)) }
}
