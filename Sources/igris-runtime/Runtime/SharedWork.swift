import Core
import Logging
import Node

/// Work that hosts of the swarm do for one another: what this host asks of others, and what they ask of it.
struct SharedWork {
    let links: WorkLinks
    private let desk: WorkDesk
    private let transport: any PeerTransport
    /// Nil where what waits here stays here.
    private let balance: QueueBalance?

    init(
        _ transport: any PeerTransport, node: SwarmNode, models: Models, answers: LiveAnswers,
        balancing routes: Routes?, log: Logger
    ) {
        self.transport = transport
        links = WorkLinks(transport: transport, addresses: { await node.addresses(of: $0) })
        desk = WorkDesk(
            models: models, answers: answers,
            hasOther: { model in
                await node.hosts().contains { host in
                    !host.isSelf && host.state == .alive && !host.isExcluded
                        && host.models.contains { $0.isCalled(model) && $0.isReady }
                }
            }, log: log)
        balance = routes.map { routes in
            QueueBalance(models: models, routes: routes) { await node.candidates(for: $0) }
        }
    }

    /// Serves the others, and lets them serve what waits here, until the task is cancelled.
    func run() async {
        await withDiscardingTaskGroup { group in
            if let balance { group.addTask { await balance.run() } }
            await desk.run(transport.accepted(for: .work))
            group.cancelAll()
        }
    }
}
