import Core
import Swarm

/// Choosing hosts for requests that require something of them, or want several.
extension Dispatcher {
    /// A host that is to answer, and the decision that chose it.
    struct Assignment: Sendable {
        var place: Place
        var name: String
        var decision: RouteDecision
    }

    /// Throws ``RuntimeError`` `.modelNotFound`, or `.unavailable` with ``NoCapableNode`` where no host that has the
    /// model has enough of what is required.
    func requireCapable(_ order: RequestOrder) async throws {
        guard try await capable(order).isEmpty else { return }
        let wanted = order.needs.prefix(8).map { String($0.prefix(60)) }.joined(separator: ", ")
        let among = order.hosts.isEmpty ? "no host" : "none of the hosts that are named"
        throw RuntimeError(
            .unavailable,
            order.needs.isEmpty
                ? "\(among) has the model at present"
                : "\(among) that has the model can do more than 0.7 of what is required: \(wanted); GET /v1/models shows "
                    + "what each can do, node.capabilities names more", cause: NoCapableNode())
    }

    /// Other hosts for each part, the best first; at most `count`. Throws as ``requireCapable(_:)``, and `.unavailable`
    /// where those that could are not ready.
    func assign(_ order: RequestOrder, count: Int, prefix: PromptPrefix) async throws -> [Assignment] {
        let able = try await capable(order)
        guard !able.isEmpty else {
            try await requireCapable(order)
            return []
        }
        var question = RouteQuestion(
            model: order.model, prefix: prefix, maximumTokens: order.maximumTokens ?? 256, needs: Set(order.needs))
        question.mayLackSome = true
        var assignments: [Assignment] = []
        while assignments.count < count {
            let decision = routes.choose(question, among: able)
            guard let node = decision.node, let chosen = able.first(where: { $0.node == node }) else { break }
            question.without.insert(node)
            let offer = Offer(
                node: node, isSelf: chosen.isSelf, model: chosen.model, roundTrip: chosen.roundTrip)
            guard var place = place(for: offer, isHere: true) else { continue }
            place.reason = "\(decision.algorithm.rawValue): \(decision.reason)"
            assignments.append(Assignment(place: place, name: chosen.name, decision: decision))
        }
        guard !assignments.isEmpty else {
            throw RuntimeError(.unavailable, "no host that could answer is ready at present")
        }
        return assignments
    }

    private func capable(_ order: RequestOrder) async throws -> [RouteCandidate] {
        let all = await candidates(order.model)
        // Says which models there are.
        if all.isEmpty { _ = try await begin(order.model) }
        let needs = Set(order.needs)
        return all.filter { candidate in
            guard CapabilityMatch.of(candidate.model, for: needs) > CapabilityMatch.enough else { return false }
            return order.hosts.isEmpty || order.hosts.contains(candidate.name)
                || order.hosts.contains(candidate.node.description)
        }
    }
}
