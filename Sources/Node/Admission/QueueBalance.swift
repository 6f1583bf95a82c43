internal import Core
package import Swarm

/// Sends what waits here to hosts that have nothing to do, as they tell of their loads.
package struct QueueBalance: Sendable {
    private let models: Models
    private let candidates: @Sendable (_ model: String) async -> [RouteCandidate]
    private let routes: Routes

    package init(
        models: Models, routes: Routes,
        candidates: @escaping @Sendable (_ model: String) async -> [RouteCandidate]
    ) {
        self.models = models
        self.routes = routes
        self.candidates = candidates
    }

    /// Until the task is cancelled.
    package func run() async {
        while (try? await Task.sleep(for: Limits.queueBalance)) != nil {
            for entry in models.entries where entry.engine.hasBacklog { await compare(entry) }
        }
    }

    private func compare(_ entry: Models.Entry) async {
        let all = await candidates(entry.name)
        guard let own = all.first(where: \.isSelf) else { return }
        let able = all.filter { !$0.isSelf && $0.model.isReady && $0.model.canTakeOver(own.model) }
        guard !able.isEmpty else { return }
        // Who is left alone after failures, drains, or is not trusted is the router's to say.
        let eligible = Set(routes.explain(RouteQuestion(model: entry.name), among: able).eligible)
        let helpers = able.filter { eligible.contains($0.node) }.compactMap { candidate in
            candidate.helper(telling: routes.telling(of: candidate.node))
        }
        entry.engine.compare(with: helpers, isHot: (own.load?.processor ?? 0) > HostLoad.hot)
    }
}

extension RouteCandidate {
    /// Nil for one that has not told of its load.
    fileprivate func helper(telling: UInt64) -> ModelQueue.Helper? {
        guard let load, let work = load[model.name] else { return nil }
        let busy = work.running + work.waiting
        return ModelQueue.Helper(
            node: node, free: max(0, work.slots - busy),
            isCold: load.processor < HostLoad.cold && Double(busy) < HostLoad.cold * Double(work.slots),
            telling: telling)
    }
}

extension HostedModel {
    /// The same model, with as much context, on an engine that can do as much.
    fileprivate func canTakeOver(_ other: HostedModel) -> Bool {
        if let ours = file?.digest, let theirs = other.file?.digest, ours != theirs { return false }
        return engine == other.engine && (contextLength ?? 0) >= (other.contextLength ?? 0)
            && Set(capabilities).isSuperset(of: other.capabilities)
    }
}
