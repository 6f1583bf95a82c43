package import Core
internal import Metrics
package import Swarm
internal import Synchronization

/// The shell of ``Router``: one for all answers that are asked of this host.
package final class Routes: Sendable {
    private let router: Mutex<Router>
    private let tellings = Mutex<[NodeID: UInt64]>([:])
    private let start = ContinuousClock.now
    private let choosing = Timer(label: "igris_route_seconds")

    package init(_ router: Router) { self.router = Mutex(router) }

    private var now: Duration { ContinuousClock.now - start }

    /// A host has told of its load.
    package func loadTold(by node: NodeID) {
        router.withLock { $0.loadTold(by: node) }
        tellings.withLock { tellings in
            // Which one it is tells it from the one before, no more.
            if tellings.count >= Limits.knownHosts, tellings[node] == nil { tellings = [:] }
            tellings[node, default: 0] &+= 1
        }
    }

    /// The number of the last time that a host told of its load.
    func telling(of node: NodeID) -> UInt64 { tellings.withLock { $0[node] ?? 0 } }

    func choose(_ question: RouteQuestion, among candidates: [RouteCandidate]) -> RouteDecision {
        let begin = ContinuousClock.now
        defer { choosing.record(duration: ContinuousClock.now - begin) }
        return router.withLock { $0.choose(question, among: candidates, at: now) }
    }

    func explain(_ question: RouteQuestion, among candidates: [RouteCandidate]) -> RouteDecision {
        router.withLock { $0.explain(question, among: candidates, at: now) }
    }

    func began(_ model: String, on node: NodeID) { router.withLock { $0.began(model, on: node, at: now) } }

    /// - Parameter prefix: what the host has read and written by then.
    func ended(_ model: String, on node: NodeID, _ outcome: Router.Outcome, prefix: PromptPrefix) {
        router.withLock { $0.ended(model, on: node, outcome, prefix: prefix, at: now) }
    }
}
