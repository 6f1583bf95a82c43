import Core
import Swarm

/// How long the router takes to choose a host.
///
///     routing-benchmark [HOSTS [CONVERSATIONS [DECISIONS]]]
///
/// Every host has the model and tells of its load; every conversation has been answered somewhere, so that the memory of
/// prefixes is full. Then conversations go on in random order. Prints one JSON line: microseconds of one decision, and how
/// many went where their conversation was.
@main
enum RoutingBenchmark {
    static let model = "m"

    static func main() {
        func number(_ index: Int, _ usual: Int) -> Int {
            CommandLine.arguments.indices.contains(index) ? Int(CommandLine.arguments[index]) ?? usual : usual
        }
        let hosts = number(1, 16)
        let conversations = number(2, 10_000)
        let decisions = number(3, 100_000)
        var random = SplitMix(state: 20_261_121)
        let candidates = (0..<hosts).map { index in
            RouteCandidate(
                node: NodeID(Bytes16(high: 1, low: UInt64(index))), isSelf: index == 0,
                model: HostedModel(name: model, engine: "builtin", state: EngineState.ready.word),
                load: HostLoad(
                    processor: Double(random.next() % 100) / 100,
                    models: [
                        ModelLoad(
                            name: model, waiting: Int(random.next() % 3), running: Int(random.next() % 4), slots: 4,
                            readRate: 800, writeRate: 30)
                    ]), roundTrip: .microseconds(200 + Int(random.next() % 800)))
        }
        let histories = (0..<conversations).map { index in
            (0..<6).map { Message($0 % 2 == 0 ? .user : .assistant, "conversation \(index), message \($0)") }
        }
        var router = Router(seed: 7)
        var now = Duration.zero
        var homes: [NodeID?] = []
        for history in histories {
            let prefix = PromptPrefix(history, cost: cost)
            let chosen = router.choose(RouteQuestion(model: model, prefix: prefix), among: candidates, at: now)
            homes.append(chosen.node)
            if let node = chosen.node { answer(on: node, prefix, &router, &now) }
        }
        var nanoseconds: [Int64] = []
        var returned = 0
        for _ in 0..<decisions {
            let index = Int(random.next() % UInt64(conversations))
            let prefix = PromptPrefix(histories[index], cost: cost)
            let question = RouteQuestion(model: model, prefix: prefix)
            let begin = ContinuousClock.now
            let chosen = router.choose(question, among: candidates, at: now)
            let taken = ContinuousClock.now - begin
            nanoseconds.append(taken.components.attoseconds / 1_000_000_000)
            if chosen.node == homes[index] { returned += 1 }
            if let node = chosen.node { answer(on: node, prefix, &router, &now) }
            homes[index] = chosen.node
        }
        nanoseconds.sort()
        func part(_ share: Double) -> JSON {
            .number(Double(nanoseconds[Int(Double(nanoseconds.count - 1) * share)]) / 1_000)
        }
        let line: JSON = [
            "hosts": .integer(Int64(hosts)), "conversations": .integer(Int64(conversations)),
            "decisions": .integer(Int64(decisions)), "p50": part(0.5), "p99": part(0.99), "max": part(1),
            "returned": .integer(Int64(returned)),
        ]
        print(line.text)
    }

    private static let cost = TokenCost(perByte: 0.3, perMessage: 4, fixed: 2, isExact: false)

    private static func answer(on node: NodeID, _ prefix: PromptPrefix, _ router: inout Router, _ now: inout Duration) {
        router.began(model, on: node, at: now)
        now += .milliseconds(5)
        router.ended(model, on: node, .answered, prefix: prefix, at: now)
    }
}

private struct SplitMix {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
