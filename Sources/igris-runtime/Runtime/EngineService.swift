import Core
import Node
import ServiceLifecycle

/// Starts the engines, and ends them once nobody needs them any more.
struct EngineService: Service {
    let models: Models

    func run() async throws {
        await withTaskGroup(of: Void.self) { group in
            for entry in models.entries { group.addTask { await entry.engine.start() } }
        }
        try? await gracefulShutdown()  // throws only when cancelled, which ends the engines just the same
        await withTaskGroup(of: Void.self) { group in
            for entry in models.entries { group.addTask { await entry.engine.stop() } }
        }
    }
}
