import Node
import ServiceLifecycle

/// Starts the engines, and ends them once nobody needs them any more.
struct EngineService: Service {
    let models: Models

    func run() async throws {
        await withTaskGroup(of: Void.self) { group in
            // A model may take minutes to load; the end does not wait for that.
            group.addTask { await models.start() }
            try? await gracefulShutdown()  // throws only when cancelled, which ends the engines just the same
            await models.stop()
        }
    }
}
