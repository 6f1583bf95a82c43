import Core
import Engine
import Logging
import Node
import ServiceLifecycle
import Settings

/// Measures the swarm's work until the shutdown.
struct CapacityService: Service {
    let capacity: Capacity

    func run() async throws { await cancelWhenGracefulShutdown { await capacity.run() } }
}

/// The operator's command that is told how many hosts are wanted.
struct ScalingHook: Sendable {
    private let command: [String]
    private let log: Logger

    /// Nil where there is none.
    init?(_ settings: Settings.Scaling, log: Logger) {
        guard !settings.hook.isEmpty else { return nil }
        command = settings.hook
        self.log = log
    }

    /// Both numbers are its last arguments.
    func tell(desired: Int, hosts: Int) async {
        do {
            try await HookProgram.run(command + ["\(desired)", "\(hosts)"])
        } catch is CancellationError {
            // The daemon stops.
        } catch {
            log.error("scaling.hook failed", metadata: ["error": "\(error)"])
        }
    }
}
