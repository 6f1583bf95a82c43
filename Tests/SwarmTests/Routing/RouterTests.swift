import Core
import Testing

@testable import Swarm

@Suite struct RouterTests {
    static func node(_ number: UInt64) -> NodeID { NodeID(Bytes16(high: 0, low: number)) }

    static func candidate(
        _ number: UInt64, waiting: Int = 0, running: Int = 0, slots: Int = 2, readRate: Double? = 500,
        writeRate: Double? = 20, roundTrip: Duration = .milliseconds(1), capabilities: [String] = []
    ) -> RouteCandidate {
        RouteCandidate(
            node: node(number), name: "host-\(number)", isSelf: number == 1,
            model: HostedModel(
                name: "m", aliases: ["alias"], engine: "builtin", state: "ready", contextLength: 2_048,
                capabilities: capabilities),
            load: HostLoad(models: [
                ModelLoad(
                    name: "m", waiting: waiting, running: running, slots: slots, readRate: readRate,
                    writeRate: writeRate)
            ]), roundTrip: roundTrip)
    }

    static func prompt(_ turns: Int, bytes: Int = 400) -> PromptPrefix {
        PromptPrefix(
            (0..<turns).map {
                Message($0 % 2 == 0 ? .user : .assistant, "\($0)" + String(repeating: "x", count: bytes))
            },
            cost: TokenCost(perByte: 1, perMessage: 4, fixed: 0, isExact: true))
    }

    /// So many choices, each at once over.
    static func spread(
        _ router: inout Router, _ candidates: [RouteCandidate], times: Int,
        question: RouteQuestion = RouteQuestion(model: "m")
    ) -> [UInt64: Int] {
        var counts: [UInt64: Int] = [:]
        for _ in 0..<times {
            guard let chosen = router.choose(question, among: candidates, at: .zero).node else { continue }
            counts[chosen.bytes.low, default: 0] += 1
        }
        return counts
    }

    @Test func `Round robin gives each the same`() {
        var router = Router(.roundRobin, seed: 1)
        #expect(Self.spread(&router, (1...3).map { Self.candidate($0) }, times: 30) == [1: 10, 2: 10, 3: 10])
    }

    @Test func `Weights divide the turns, and nobody gets all of his at once`() {
        var router = Router(.weighted, seed: 1)
        var candidates = (1...3).map { Self.candidate($0) }
        candidates[0].load?.weight = 3
        candidates[2].load?.weight = 0
        let order = (0..<8).compactMap { _ in
            router.choose(RouteQuestion(model: "m"), among: candidates, at: .zero).node?.bytes.low
        }
        #expect(order == [1, 1, 2, 1, 1, 1, 2, 1])
    }

    @Test func `The least busy is asked, and what was sent there meanwhile counts`() {
        var router = Router(.leastConnections, seed: 1)
        let candidates = [
            Self.candidate(1, running: 2), Self.candidate(2, running: 1), Self.candidate(3, waiting: 1, running: 2),
        ]
        #expect(router.choose(RouteQuestion(model: "m"), among: candidates, at: .zero).node == Self.node(2))
        for _ in 0..<2 { router.began("m", on: Self.node(2), at: .zero) }
        #expect(router.choose(RouteQuestion(model: "m"), among: candidates, at: .zero).node == Self.node(1))
        router.loadTold(by: Self.node(2))
        // Its own word is newer, but what runs there of ours is known better.
        #expect(router.explain(RouteQuestion(model: "m"), among: candidates, at: .zero).judgements[1].score == 2)
    }

    @Test func `Capabilities: more than seven of ten, or nobody`() {
        var router = Router(.capability, seed: 1)
        let needs: Set = ["tools", "json_schema", "logprobs", "embeddings"]
        let candidates = [
            Self.candidate(1, capabilities: ["tools", "json_schema"]),
            Self.candidate(2, capabilities: ["tools", "json_schema", "logprobs"]),
            Self.candidate(3, capabilities: ["tools"]),
        ]
        let decision = router.choose(RouteQuestion(model: "m", needs: needs), among: candidates, at: .zero)
        #expect(decision.node == Self.node(2) && decision.eligible == [Self.node(2)])
        #expect(decision.judgements[0].whyNot == "its engine lacks embeddings, logprobs")
        var strict = Router(.auto, seed: 1)
        #expect(strict.choose(RouteQuestion(model: "m", needs: needs), among: candidates, at: .zero).node == nil)
    }

    @Test func `A conversation has one owner on the ring, the same for every host`() {
        let candidates = (1...5).map { Self.candidate($0) }
        for conversation in 0..<50 {
            let question = RouteQuestion(model: "m", affinity: Bytes16(high: UInt64(conversation), low: 7))
            let owners = (0..<UInt64(3)).map { seed in
                var router = Router(.hash, seed: seed)
                return router.choose(question, among: seed == 0 ? candidates : candidates.reversed(), at: .zero).node
            }
            #expect(Set(owners).count == 1)
        }
    }

    @Test func `The best bid wins, and can be computed again from what is shown`() throws {
        var router = Router(.auction, seed: 1)
        let candidates = [
            Self.candidate(1, running: 2), Self.candidate(2, writeRate: 40),
            Self.candidate(3, running: 1, writeRate: 80),
        ]
        let decision = router.choose(RouteQuestion(model: "m"), among: candidates, at: .zero)
        for judgement in decision.judgements {
            let parts = Dictionary(uniqueKeysWithValues: judgement.parts.map { ($0.name, $0.value) })
            var again = 0.0
            for (name, weight) in [("capability", 0.4), ("load", 0.3), ("performance", 0.2), ("resources", 0.1)] {
                again += weight * (try #require(parts[name]))
            }
            #expect(abs(again - (judgement.score ?? 0)) < 1e-9)
        }
        let best = decision.judgements.max { ($0.score ?? 0) < ($1.score ?? 0) }
        #expect(decision.node == best?.node && decision.node == Self.node(2))
    }

    @Test func `Auto stays with the host that has read the conversation, until that one is slower than a cold one`() {
        var router = Router(seed: 3)
        let prefix = Self.prompt(5)
        router.began("m", on: Self.node(2), at: .zero)
        router.ended("m", on: Self.node(2), .answered, prefix: prefix, at: .zero)
        let question = RouteQuestion(model: "m", prefix: Self.prompt(7))
        let idle = (1...3).map { Self.candidate($0) }
        let decision = router.explain(question, among: idle, at: .zero)
        #expect(decision.node == Self.node(2))
        #expect(decision.reason == "soonest, has read \(prefix.tokens) tokens of it")
        // Another conversation is answered here: nothing has to travel.
        #expect(router.explain(RouteQuestion(model: "m"), among: idle, at: .zero).node == Self.node(1))
        // Two requests wait there already: reading everything anew is sooner.
        let busy = [Self.candidate(1), Self.candidate(2, waiting: 2, running: 2), Self.candidate(3)]
        #expect(router.explain(question, among: busy, at: .zero).node == Self.node(1))
    }

    @Test func `What a failed engine had read is forgotten`() {
        var router = Router(seed: 3)
        for outcome in [Router.Outcome.answered, .failed] {
            router.began("m", on: Self.node(2), at: .zero)
            router.ended("m", on: Self.node(2), outcome, prefix: Self.prompt(5), at: .zero)
        }
        let question = RouteQuestion(model: "m", prefix: Self.prompt(7))
        #expect(
            router.explain(question, among: [Self.candidate(1), Self.candidate(2)], at: .zero).node == Self.node(1))
    }

    @Test func `Requests that come at once spread before any host has told of them`() {
        var router = Router(seed: 5)
        let candidates = (1...3).map { Self.candidate($0, slots: 1) }
        var counts: [NodeID: Int] = [:]
        for _ in 0..<30 {
            guard let node = router.choose(RouteQuestion(model: "m"), among: candidates, at: .zero).node else {
                continue
            }
            router.began("m", on: node, at: .zero)
            counts[node, default: 0] += 1
        }
        #expect(counts.values.allSatisfy { (9...11).contains($0) } && counts.count == 3)
    }

    @Test func `About one of a hundred choices explores, never a host that is far worse`() {
        var router = Router(seed: 11)
        let candidates = [Self.candidate(1), Self.candidate(2), Self.candidate(3, writeRate: 1)]
        let counts = Self.spread(&router, candidates, times: 10_000)
        #expect((50...200).contains(counts[2] ?? 0) && counts[3] == nil)
    }

    @Test func `Who fails is left alone for a while, and an answer never goes back to whom it lost`() {
        var router = Router(seed: 1)
        let candidates = [Self.candidate(1), Self.candidate(2)]
        for _ in 0..<3 {
            router.began("m", on: Self.node(1), at: .zero)
            router.ended("m", on: Self.node(1), .failed, prefix: PromptPrefix(), at: .zero)
        }
        let question = RouteQuestion(model: "alias")
        #expect(router.choose(question, among: candidates, at: .milliseconds(500)).node == Self.node(2))
        let decision = router.explain(question, among: candidates, at: .milliseconds(500))
        #expect(decision.judgements[0].whyNot == "it failed a moment ago" && decision.reason == "only host")
        var again = question
        again.without = [Self.node(2)]
        #expect(router.explain(again, among: candidates, at: .milliseconds(500)).node == nil)
        #expect(router.explain(again, among: candidates, at: .seconds(2)).node == Self.node(1))
    }

    @Test func `Only the same file goes on with an answer`() {
        var router = Router(seed: 1)
        var (one, two) = (Self.candidate(1), Self.candidate(2))
        one.model.file = ModelFile(bytes: 1)
        two.model.file = ModelFile(bytes: 1)
        two.model.file?.digest = "abc"
        let decision = router.choose(RouteQuestion(model: "m", digest: "abc"), among: [one, two], at: .zero)
        #expect(decision.node == Self.node(2) && decision.judgements[0].whyNot == "its file of the model is another")
    }

    @Test func `Nobody is chosen who drains, is excluded, or has stopped`() {
        var (draining, excluded, stopped) = (Self.candidate(1), Self.candidate(2), Self.candidate(3))
        draining.load?.isDraining = true
        excluded.isExcluded = true
        stopped.model.state = "quarantined"
        var router = Router(seed: 1)
        let decision = router.choose(RouteQuestion(model: "m"), among: [draining, excluded, stopped], at: .zero)
        #expect(decision.node == nil && decision.reason == "no host can take it")
        #expect(
            decision.judgements.map(\.whyNot) == [
                "it is draining", "its reputation is too low", "its model is quarantined",
            ])
        #expect(router.choose(RouteQuestion(model: "m"), among: [], at: .zero).reason == "no host has it")
    }

    @Test func `Absurd figures of a host neither trap nor win`() {
        var absurd = Self.candidate(
            2, waiting: 1_000_000, running: 1_000_000, slots: 1, readRate: 1e11, writeRate: 1e11)
        absurd.load?.processor = .nan
        absurd.roundTrip = .seconds(-5)
        for algorithm in RoutingAlgorithm.allCases {
            var router = Router(algorithm, seed: 1)
            let question = RouteQuestion(model: "m", prefix: Self.prompt(3), maximumTokens: .max)
            #expect(router.choose(question, among: [Self.candidate(1), absurd], at: .zero).node != nil)
        }
        let router = Router(seed: 1)
        #expect(
            router.explain(RouteQuestion(model: "m"), among: [Self.candidate(1), absurd], at: .zero).node
                == Self.node(1))
    }
}
