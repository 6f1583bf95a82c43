package import Core

/// Chooses the host that answers a request. A pure machine: it is told of the candidates with every question, remembers
/// what it sent where and how that went, and draws from its own generator.
package struct Router: Sendable {
    /// How what was sent somewhere ended.
    package enum Outcome: Hashable, Sendable {
        case answered
        /// The host or its engine failed: refused, broke off, fell silent.
        case failed
        /// The client left, or the request was wrong: it says nothing of the host.
        case withdrawn
    }

    /// One host and one of its models.
    private struct Place: Hashable {
        var node: NodeID
        var model: String
    }

    private struct Record: Sendable {
        var breaker = CircuitBreaker()
        var memory = PrefixMemory()
        /// Of the latest, how much went well.
        var success = 1.0
        var running = 0
        /// Sent there since it told of its load.
        var begun = 0
        /// How far smooth weighted turns have come.
        var turn = 0.0
    }

    /// Of every hundred choices one goes elsewhere, so that what is believed of a host is tried again.
    private static let exploration = 0.01
    /// An exploration costs at most so many times the best.
    private static let explorationCost = 2.0
    private static let records = 4_096

    package let algorithm: RoutingAlgorithm
    private var generator: SplitMix64
    private var records: [Place: Record] = [:]
    private var rotation: [String: NodeID] = [:]

    package init(_ algorithm: RoutingAlgorithm = .auto, seed: UInt64) {
        self.algorithm = algorithm
        generator = SplitMix64(seed: seed)
    }

    // MARK: - Events

    /// A host has told of its load: what was sent there before is in it.
    package mutating func loadTold(by node: NodeID) {
        for place in records.keys where place.node == node { records[place]?.begun = 0 }
    }

    /// A request goes to `node`.
    package mutating func began(_ model: String, on node: NodeID, at now: Duration) {
        let place = Place(node: node, model: model)
        if records.count >= Self.records, records[place] == nil,
            let idle = records.first(where: { $0.value.running == 0 })
        {
            records[idle.key] = nil
        }
        records[place, default: Record()].breaker.began(at: now)
        records[place, default: Record()].running += 1
        records[place, default: Record()].begun += 1
    }

    /// It has ended there; `prefix` is what the host has read and written by then.
    package mutating func ended(
        _ model: String, on node: NodeID, _ outcome: Outcome, prefix: PromptPrefix, at now: Duration
    ) {
        let place = Place(node: node, model: model)
        // Out of the table: what is changed there is not copied.
        guard var record = records.removeValue(forKey: place) else { return }
        record.running = max(0, record.running - 1)
        switch outcome {
        case .answered:
            record.breaker.succeeded(at: now)
            record.success += (1 - record.success) * 0.1
            record.memory.note(prefix)
        case .failed:
            record.breaker.failed(at: now)
            record.success -= record.success * 0.3
            // What it had read is gone with its engine.
            record.memory = PrefixMemory()
        case .withdrawn: record.breaker.ended(at: now)
        }
        records[place] = record
    }

    package func breaker(_ model: String, on node: NodeID) -> CircuitBreaker {
        records[Place(node: node, model: model)]?.breaker ?? CircuitBreaker()
    }

    // MARK: - Choosing

    /// The decision as it would be made now, without any trace.
    package func explain(_ question: RouteQuestion, among candidates: [RouteCandidate], at now: Duration)
        -> RouteDecision
    {
        var copy = self
        return copy.decide(question, candidates, at: now, explores: false)
    }

    /// Where a request goes. ``began(_:on:at:)`` and ``ended(_:on:_:prefix:at:)`` tell the router what came of it.
    package mutating func choose(
        _ question: RouteQuestion, among candidates: [RouteCandidate], at now: Duration
    ) -> RouteDecision {
        decide(question, candidates, at: now, explores: true)
    }

    private mutating func decide(
        _ question: RouteQuestion, _ candidates: [RouteCandidate], at now: Duration, explores: Bool
    ) -> RouteDecision {
        // By their places: a candidate is large, and copied where it is passed by itself.
        let isOrdered = candidates.indices.dropFirst().allSatisfy { candidates[$0 - 1].node <= candidates[$0].node }
        let candidates = isOrdered ? candidates : candidates.sorted { $0.node < $1.node }
        let records = candidates.indices.map { index in
            self.records[Place(node: candidates[index].node, model: candidates[index].model.name)] ?? Record()
        }
        var judgements = candidates.indices.map { index in
            RouteDecision.Judgement(
                node: candidates[index].node, name: candidates[index].name, score: nil, parts: [],
                whyNot: whyNot(candidates[index], records[index], question, at: now))
        }
        let eligible = candidates.indices.filter { judgements[$0].whyNot == nil }
        guard !eligible.isEmpty else {
            return RouteDecision(
                node: nil, algorithm: algorithm, reason: candidates.isEmpty ? "no host has it" : "no host can take it",
                judgements: judgements)
        }
        for index in eligible {
            (judgements[index].score, judgements[index].parts) = score(
                candidates[index], records[index], question, candidates, at: now, tells: !explores)
        }
        let (chosen, reason) = pick(eligible, candidates, judgements, question, explores)
        return RouteDecision(
            node: candidates[chosen].node, algorithm: algorithm, reason: eligible.count == 1 ? "only host" : reason,
            judgements: judgements)
    }

    private func whyNot(
        _ candidate: RouteCandidate, _ record: Record, _ question: RouteQuestion, at now: Duration
    ) -> String? {
        if question.without.contains(candidate.node) { return "it has failed this answer" }
        if !candidate.model.isCalled(question.model) { return "it has no such model" }
        if let digest = question.digest, candidate.model.file?.digest != digest {
            return "its file of the model is another"
        }
        if candidate.isExcluded { return "its reputation is too low" }
        if candidate.load?.isDraining == true { return "it is draining" }
        guard candidate.model.canAnswer || candidate.model.state == EngineState.starting.word else {
            return "its model is \(candidate.model.state)"
        }
        let match = CapabilityMatch.of(candidate.model, for: question.needs)
        guard algorithm == .capability || question.mayLackSome ? match > CapabilityMatch.enough : match == 1 else {
            let missing = question.needs.subtracting(candidate.model.capabilities).sorted().joined(separator: ", ")
            return "its engine lacks \(missing)"
        }
        guard record.breaker.admits(at: now) else { return "it failed a moment ago" }
        return nil
    }

    /// - Parameter tells: somebody reads what the score is made of.
    private func score(
        _ candidate: RouteCandidate, _ record: Record, _ question: RouteQuestion, _ all: [RouteCandidate],
        at now: Duration, tells: Bool
    ) -> (Double, [RouteDecision.Part]) {
        let work = candidate.work
        var connections: Double {
            Double(max((work?.running ?? 0) + (work?.waiting ?? 0) + record.begun, record.running))
        }
        switch algorithm {
        case .auto:
            let estimate = ServiceEstimate(
                candidate, work, question, cached: record.memory.tokens(of: question.prefix), begun: record.begun,
                doubt: record.breaker.slowStart(at: now) * (2 - record.success))
            return (estimate.cost, tells ? estimate.parts : [])
        case .leastConnections: return (connections, [.init("connections", connections)])
        case .roundRobin: return (1, [])
        case .weighted:
            let weight = weight(of: candidate)
            return (weight, [.init("weight", weight)])
        case .capability:
            let match = CapabilityMatch.of(candidate.model, for: question.needs)
            return (match, [.init("match", match), .init("connections", connections)])
        case .hash: return (1, [])
        case .auction:
            let fastest = all.compactMap { $0.work?.writeRate }.max() ?? 1
            let speed = min(1, (work?.writeRate ?? fastest) / max(0.1, fastest))
            let busy = min(1, connections / Double(max(1, work?.slots ?? 1)))
            let bid = Bid(
                capability: CapabilityMatch.of(candidate.model, for: question.needs),
                load: 1 - max(busy, candidate.load?.processor ?? 0), performance: record.success * speed,
                resources: ((candidate.load?.freeMemory ?? 1) + 1 - (candidate.load?.processor ?? 0)) / 2)
            return (bid.score, bid.parts)
        }
    }

    /// Which of the eligible, and a few words for it.
    private mutating func pick(
        _ eligible: [Int], _ candidates: [RouteCandidate], _ judgements: [RouteDecision.Judgement],
        _ question: RouteQuestion, _ explores: Bool
    ) -> (Int, String) {
        func score(_ index: Int) -> Double { judgements[index].score ?? 0 }
        let first = eligible[0]
        switch algorithm {
        case .auto:
            // Of equals this host: what it answers travels nowhere.
            var best = first
            for index in eligible.dropFirst() {
                let (one, least) = (score(index), score(best))
                if one < least || one == least && candidates[index].isSelf { best = index }
            }
            guard explores, eligible.count > 1, Double.random(in: 0..<1, using: &generator) < Self.exploration else {
                return (best, why(candidates[best], question))
            }
            let others = eligible.filter { $0 != best && score($0) <= Self.explorationCost * score(best) }
            guard let other = others.randomElement(using: &generator) else {
                return (best, why(candidates[best], question))
            }
            return (other, "exploration")
        case .leastConnections:
            let least = eligible.map(score).min() ?? 0
            let idlest = eligible.filter { score($0) == least }
            return (next(of: idlest, candidates, question), "least connections")
        case .roundRobin: return (next(of: eligible, candidates, question), "round robin")
        case .weighted: return (smoothTurn(eligible, candidates), "weighted")
        case .capability:
            let best = eligible.map(score).max() ?? 0
            let parts = eligible.filter { score($0) == best }
            let idlest = parts.min {
                (judgements[$0].parts.last?.value ?? 0, $0) < (judgements[$1].parts.last?.value ?? 0, $1)
            }
            return (idlest ?? first, "capability match")
        case .hash:
            // A thing of its own each, where there is no conversation.
            let key = question.affinity.map { $0.high ^ $0.low } ?? question.prefix.beginnings.last?.hash ?? 0
            let owner = HashRing(eligible.map { candidates[$0].node }).owners(of: key, count: 1).first
            return (eligible.first { candidates[$0].node == owner } ?? first, "owner on the ring")
        case .auction:
            return (eligible.max { (score($0), $1) < (score($1), $0) } ?? first, "best bid")
        }
    }

    private func why(_ candidate: RouteCandidate, _ question: RouteQuestion) -> String {
        let record = records[Place(node: candidate.node, model: candidate.model.name)]
        let cached = record?.memory.tokens(of: question.prefix) ?? 0
        return cached > 0 ? "soonest, has read \(cached) tokens of it" : "soonest"
    }

    private func weight(of candidate: RouteCandidate) -> Double { Double(max(0, candidate.load?.weight ?? 1)) }

    /// The one after the last, in the order of the ids.
    private mutating func next(of eligible: [Int], _ candidates: [RouteCandidate], _ question: RouteQuestion) -> Int {
        let last = rotation[question.model]
        let next = eligible.first { index in last.map { candidates[index].node > $0 } ?? true } ?? eligible[0]
        if rotation.count < Limits.memberModels || last != nil { rotation[question.model] = candidates[next].node }
        return next
    }

    /// Turns spread out as nginx's smooth weighted round robin does.
    private mutating func smoothTurn(_ eligible: [Int], _ candidates: [RouteCandidate]) -> Int {
        var total = 0.0
        var best = eligible[0]
        var most = -Double.infinity
        for index in eligible {
            let weight = weight(of: candidates[index])
            let place = Place(node: candidates[index].node, model: candidates[index].model.name)
            total += weight
            records[place, default: Record()].turn += weight
            let turn = records[place]?.turn ?? 0
            if turn > most { (best, most) = (index, turn) }
        }
        records[Place(node: candidates[best].node, model: candidates[best].model.name)]?.turn -= total
        return best
    }
}
