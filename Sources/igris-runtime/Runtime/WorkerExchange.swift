import Core
import Engine
import Logging
import Node
import Peering
import ServiceLifecycle
import Settings
import Synchronization

/// Joins models that want workers on other hosts, and the worker that this host lends, with the swarm. Engines are made
/// before it: until it is there, no workers can be had.
final class WorkerExchange: Sendable {
    private struct Partner {
        var node: SwarmNode
        var tunnels: WorkerTunnels
    }

    private let settings: Settings.RPCWorker
    private let partner = Mutex<Partner?>(nil)

    init(_ settings: Settings.RPCWorker) { self.settings = settings }

    /// Where a model gets the workers of its wish from.
    func source(_ wish: WorkerWish) -> WorkerSource {
        WorkerSource { [self] build, use in
            guard let partner = partner.withLock({ $0 }) else {
                throw RuntimeError(
                    .unavailable, "this host is in no swarm whose hosts could lend workers; see mcp.enabled")
            }
            let hosts = try WorkerHost.candidates(for: wish, among: await partner.node.hosts())
            return try await partner.tunnels.borrow(wish.count, of: hosts, build: build, use: use)
        }
    }

    /// What takes others' requests for this host's worker, to be run beside the swarm.
    func joined(_ swarm: SwarmParts, log: Logger) -> WorkerService {
        let transport = swarm.transport
        partner.withLock { $0 = Partner(node: swarm.node, tunnels: WorkerTunnels(transport: transport, log: log)) }
        let worker =
            settings.enabled
            ? WorkerProgram(command: settings.command, threads: settings.threads, log: log).lent : nil
        return WorkerService(door: WorkerDoor(transport: transport, worker: worker, log: log))
    }
}

struct WorkerService: Service {
    let door: WorkerDoor

    func run() async throws {
        await cancelWhenGracefulShutdown { await door.run() }
    }
}
