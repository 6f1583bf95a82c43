package import Core
internal import Metrics
package import Swarm

/// Chooses the host that writes an answer, and the next one should it fail. What the client asked stays on this host:
/// only the prompt travels, and the answer's pieces come back.
package struct Dispatcher: Sendable {
    private let node: NodeID
    private let models: Models
    private let hosts: @Sendable () async -> [HostReport]
    let candidates: @Sendable (_ model: String) async -> [RouteCandidate]
    private let links: WorkLinks?
    let routes: Routes
    /// An answer whose writer fails goes on elsewhere.
    let takesUp: Bool
    let metrics = DispatchMetrics()

    /// - Parameters:
    ///   - hosts: everyone in the swarm, with their models.
    ///   - candidates: those of them that have a model, this host too; none where it stands alone.
    ///   - links: the ways to them; nil where this host stands alone.
    package init(
        node: NodeID, models: Models, hosts: @escaping @Sendable () async -> [HostReport] = { [] },
        candidates: @escaping @Sendable (_ model: String) async -> [RouteCandidate] = { _ in [] },
        links: WorkLinks? = nil, routes: Routes? = nil, takesUp: Bool
    ) {
        self.node = node
        self.models = models
        self.hosts = hosts
        self.candidates = candidates
        self.links = links
        self.routes = routes ?? Routes(Router(seed: node.bytes.low))
        self.takesUp = takesUp
    }

    /// The first host that says what its engine can do.
    ///
    /// - Throws: ``RuntimeError`` `.modelNotFound` with what there is, or why the best host cannot answer.
    func begin(_ model: String) async throws -> (Place, EngineDescription) {
        // Most often this host has it, and nobody else need be looked at.
        if let own = await own(model), own.model.isReady, !models.drain.isOn,
            let found = try? await own.engine.describe()
        {
            return (own, found)
        }
        let places = await places(for: model)
        guard !places.isEmpty else { throw await unknown(model) }
        var first: (any Error)?
        for place in places {
            do {
                return (place, try await place.engine.describe())
            } catch is CancellationError {
                throw CancellationError()
            } catch {
                first = first ?? error
            }
        }
        throw first ?? RuntimeError(.unavailable, "no host can answer for this model at present; try again later")
    }

    /// The best host for a prompt that is known. `place` is where it would go else, and `engine` what is known there: a
    /// host that could do less is no choice.
    func choose(
        _ request: GenerationRequest, of model: String, prefix: PromptPrefix, begun place: Place,
        _ engine: EngineDescription
    ) async -> Place {
        let able = await candidates(model).filter {
            $0.node == place.node || links != nil && $0.model.isAtLeast(engine, kind: place.model.engine)
        }
        guard able.count > 1 || able.first?.node != place.node else { return place }
        let question = RouteQuestion(
            model: model, prefix: prefix, maximumTokens: request.maximumTokens, affinity: request.affinity)
        return chosen(question, among: able, or: place) ?? place
    }

    /// Where a request waits for which there is no room at `place`: the router's choice among those that it has not been
    /// to. Nil where nobody is left.
    func elsewhere(
        _ request: GenerationRequest, of model: String, prefix: PromptPrefix, like place: Place, without: Set<NodeID>
    ) async -> Place? {
        if let engine = try? await place.engine.describe() {
            let able = await candidates(model).filter {
                !without.contains($0.node) && links != nil && $0.model.isReady
                    && $0.model.isAtLeast(engine, kind: place.model.engine)
            }
            let question = RouteQuestion(
                model: model, prefix: prefix, maximumTokens: request.maximumTokens, affinity: request.affinity,
                without: without)
            if let chosen = chosen(question, among: able) { return chosen }
        }
        return await places(for: model, like: place.model).first { $0.model.isReady && !without.contains($0.node) }
    }

    /// Who goes on with an answer that was begun at `place`: the router's choice among those that could. Nil where there
    /// is none.
    func successor(
        of place: Place, _ request: GenerationRequest, of model: String, prefix: PromptPrefix, without: Set<NodeID>
    ) async -> Place? {
        let able = await candidates(model).filter {
            !without.contains($0.node) && (links != nil || $0.isSelf) && $0.model.isReady
                && $0.model.canGoOn(after: place.model)
        }
        guard !able.isEmpty else { return nil }
        let question = RouteQuestion(
            model: model, prefix: prefix, maximumTokens: request.maximumTokens, affinity: request.affinity,
            digest: place.model.file?.digest, without: without)
        return chosen(question, among: able)
    }

    /// The model at that host; nil where it is not to be had there.
    func place(of model: String, on node: NodeID, like hosted: HostedModel) async -> Place? {
        await places(for: model, like: hosted).first { $0.node == node }
    }

    private func chosen(
        _ question: RouteQuestion, among able: [RouteCandidate], or place: Place? = nil
    ) -> Place? {
        let decision = routes.choose(question, among: able)
        guard let chosen = able.first(where: { $0.node == decision.node }) else { return nil }
        let offer = Offer(
            node: chosen.node, isSelf: chosen.isSelf, model: chosen.model, roundTrip: chosen.roundTrip)
        var found = chosen.node == place?.node ? place : self.place(for: offer, isHere: true)
        found?.reason = "\(decision.algorithm.rawValue): \(decision.reason)"
        return found
    }

    /// Where a request for `model` would go now.
    func explain(_ model: String) async throws -> RouteReport {
        let candidates = await candidates(model)
        guard !candidates.isEmpty else {
            let (place, _) = try await begin(model)
            return RouteReport(
                model: model, algorithm: RoutingAlgorithm.auto.rawValue, node: place.node, reason: place.reason,
                hosts: [])
        }
        return RouteReport(routes.explain(RouteQuestion(model: model), among: candidates), model: model)
    }

    func began(at place: Place) { routes.began(place.model.name, on: place.node) }

    func ended(at place: Place, _ outcome: Router.Outcome, prefix: PromptPrefix) {
        routes.ended(place.model.name, on: place.node, outcome, prefix: prefix)
    }

    /// Those that may be asked, the best first. `like`: to go on with what that model has begun.
    func places(for name: String, like model: HostedModel? = nil) async -> [Place] {
        var offers: [Offer] = []
        if let own = await own(name) { offers.append(Offer(node: node, isSelf: true, model: own.model)) }
        if links != nil {
            for host in await hosts() where !host.isSelf && host.state == .alive && !host.isExcluded {
                guard let id = host.id, let hosted = host.models.first(where: { $0.isCalled(name) }) else { continue }
                offers.append(Offer(node: id, isSelf: false, model: hosted, roundTrip: host.roundTrip))
            }
        }
        let isHere = offers.contains(where: \.isSelf)
        var places = Offer.ordered(offers, like: model).compactMap { place(for: $0, isHere: isHere) }
        if models.drain.isOn, let index = places.firstIndex(where: self.isHere), places.contains(where: isOtherReady) {
            places.append(places.remove(at: index))
        }
        return places
    }

    func place(for offer: Offer, isHere: Bool) -> Place? {
        if offer.isSelf {
            // It was found a moment ago.
            guard let entry = try? models.entry(named: offer.model.name) else { return nil }
            return Place(node: node, model: offer.model, engine: entry.engine, reason: Self.ownReason)
        }
        guard let links else { return nil }
        return Place(
            node: offer.node, model: offer.model,
            engine: PeerEngine(node: offer.node, model: offer.model.name, links: links),
            reason: isHere ? "not ready on the host that was asked" : "not on the host that was asked")
    }

    /// This host, whatever state its engine is in; nil where it has not the model, or has stopped it.
    private func own(_ name: String) async -> Place? {
        guard let entry = try? models.entry(named: name) else { return nil }  // another host may have it
        let state = await entry.engine.state()
        guard state != .stopped else { return nil }
        let hosted = HostedModel(
            name: entry.name, aliases: entry.aliases, engine: entry.kind, state: state.word, file: entry.file())
        return Place(node: node, model: hosted, engine: entry.engine, reason: Self.ownReason)
    }

    private static let ownReason = "ready on the host that was asked"

    private func unknown(_ model: String) async -> any Error {
        do {
            _ = try models.entry(named: model)
            return RuntimeError(.unavailable, "the model \(model.prefix(100)) is being stopped")
        } catch {
            var error = error
            let others = await hosts().filter { !$0.isSelf && $0.state == .alive }.flatMap { $0.models.map(\.name) }
            let names = Set(others).sorted().prefix(Limits.memberModels).joined(separator: ", ")
            if !names.isEmpty { error.message += "; other hosts of the swarm have: \(names)" }
            return error
        }
    }

    // MARK: Answers

    /// Begins an answer at `place`; it goes on elsewhere should that fail. `serving` is told who writes.
    func generate(
        _ request: GenerationRequest, of model: String, at place: Place, prefix: PromptPrefix = PromptPrefix(),
        telling serving: Serving
    ) -> GenerationStream {
        let answer = TravellingAnswer(request, of: model, at: place, prefix: prefix, telling: serving, by: self)
        return GenerationStream { try await answer.next() }
    }

    /// Goes on at `place` with the answer of a host that is gone: what came of it is given out first.
    func goOn(_ heritage: StandbyDesk.Heritage, at place: Place) -> GenerationStream {
        let answer = TravellingAnswer(
            heritage.request.generation, of: heritage.request.model, at: place, prefix: PromptPrefix(),
            telling: Serving(place), behind: heritage, by: self)
        return GenerationStream { try await answer.next() }
    }

    var isDraining: Bool { models.drain.isOn }
    func isOtherReady(_ place: Place) -> Bool { !isHere(place) && place.model.isReady }
    func isHere(_ place: Place) -> Bool { place.node == node }
}

/// The instruments of ``Dispatcher``, made at the start so that a page without failures says so.
struct DispatchMetrics: Sendable {
    private let forwarded = Counter(label: "igris_forwarded_requests_total", dimensions: [("direction", "out")])
    private let gap = Timer(label: "igris_failover_gap_seconds")
    private let failovers = Dictionary(
        uniqueKeysWithValues: Failover.Cause.allCases.map {
            ($0, Counter(label: "igris_failovers_total", dimensions: [("cause", $0.rawValue)]))
        })
    private let offered = Counter(label: "igris_migrations_total", dimensions: [("reason", "full")])

    func record(gap duration: Duration) { gap.record(duration: duration) }
    func countOffered() { offered.increment() }
    func countForwarded() { forwarded.increment() }
    func count(_ cause: Failover.Cause) { failovers[cause]?.increment() }
}

extension HostedModel {
    /// Takes what was made to fit that one.
    fileprivate func canGoOn(after other: HostedModel) -> Bool {
        (contextLength ?? 0) >= (other.contextLength ?? 0) && Set(capabilities).isSuperset(of: other.capabilities)
            && engine == other.engine
    }

    /// Takes what was made to fit `engine`.
    fileprivate func isAtLeast(_ engine: EngineDescription, kind: String) -> Bool {
        let needed = engine.capabilities.map(\.rawValue)
        return (contextLength ?? 0) >= engine.contextLength && Set(capabilities).isSuperset(of: needed)
            && self.engine == kind
    }
}
