package import Core
internal import Swarm

/// Where a request would go now, and why: `GET /v1/route/explain`.
package struct RouteReport: Sendable {
    package struct Host: Sendable {
        package var node: NodeID
        package var name: String
        package var score: Double?
        /// What the score is made of.
        package var parts: [(name: String, value: Double)]
        /// Why it is out of the question.
        package var whyNot: String?
    }

    package var model: String
    package var algorithm: String
    /// Nil where nobody can answer.
    package var node: NodeID?
    package var reason: String
    package var hosts: [Host]

    package init(model: String, algorithm: String, node: NodeID?, reason: String, hosts: [Host]) {
        self.model = model
        self.algorithm = algorithm
        self.node = node
        self.reason = reason
        self.hosts = hosts
    }
}

extension RouteReport {
    init(_ decision: RouteDecision, model: String) {
        self.init(
            model: model, algorithm: decision.algorithm.rawValue, node: decision.node, reason: decision.reason,
            hosts: decision.judgements.map { judgement in
                Host(
                    node: judgement.node, name: judgement.name, score: judgement.score,
                    parts: judgement.parts.map { ($0.name, $0.value) }, whyNot: judgement.whyNot)
            })
    }
}
