import Node
import ServiceLifecycle

/// Requests in the background, until the shutdown: what runs then is another host's, or the next start's.
struct RequestService: Service {
    let requests: Requests

    func run() async throws { await cancelWhenGracefulShutdown { await requests.run() } }
}
