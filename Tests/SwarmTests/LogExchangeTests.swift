import Core
import Swarm
import Testing

@Suite struct LogExchangeTests {
    /// Operations of several hosts that depend on one another at random.
    private static func history(_ random: inout Seeded, authors: Int, count: Int) -> (
        operations: [Operation], heads: [LogHead]
    ) {
        var logs = (0..<authors).map { Fixture.log(UInt64($0 + 1)) }
        var written: [Operation] = []
        while written.count < count {
            let author = random.below(authors)
            if random.below(2) == 0 {
                // It hears of the others' work up to some point of the common past: causes come with their effects.
                _ = logs[author].received(Array(written.prefix(random.below(written.count + 1))), milliseconds: 1)
            }
            let seen = written.filter { logs[author].applied.contains($0.dot) }
            let after = (0..<random.below(3)).compactMap { _ in random.pick(seen)?.dot }
            let drafts = (0...random.below(3)).map { Fixture.draft("\(written.count)/\($0)", after: after) }
            written += logs[author].proposed(drafts, milliseconds: UInt64(written.count / 3)).applied
        }
        return (written, logs.map { $0.head(of: $0.origin) })
    }

    @Test(
        "Any order and repetition of batches gives the same log; each operation comes once, after its causes",
        arguments: 0..<60 as Range<UInt64>)
    func anyOrder(seed: UInt64) {
        var random = Seeded(seed)
        let (operations, heads) = Self.history(&random, authors: 2 + random.below(4), count: 20 + random.below(60))
        for _ in 0..<3 {
            var shuffled = operations + (0..<10).compactMap { _ in random.pick(operations) }
            shuffled.shuffle(using: &random)
            var reader = Fixture.log(99)
            var applied = VersionVector()
            var order: [Dot] = []
            var chains: [Origin: LogHead] = [:]
            var rest = shuffled[...]
            while !rest.isEmpty {
                let size = min(rest.count, 1 + random.below(5))
                let actions = reader.received(Array(rest.prefix(size)), milliseconds: 1)
                rest = rest.dropFirst(size)
                #expect(actions.dropped.isEmpty, "seed \(seed)")
                for operation in actions.applied {
                    #expect(operation.dot.sequence == applied[operation.dot.origin] + 1, "seed \(seed)")
                    #expect(operation.dependencies.allSatisfy { applied.contains($0) }, "seed \(seed)")
                    applied[operation.dot.origin] = operation.dot.sequence
                    order.append(operation.dot)
                }
                for head in actions.heads { chains[head.origin] = head }
                #expect(reader.applied == applied, "seed \(seed)")
            }
            #expect(Set(order) == Set(operations.map(\.dot)), "seed \(seed)")
            #expect(order.count == operations.count, "seed \(seed)")
            #expect(heads.filter { $0.sequence > 0 } == heads.compactMap { chains[$0.origin] }, "seed \(seed)")
        }
    }

    @Test("While anything is missing, something is asked for", arguments: 0..<30 as Range<UInt64>)
    func pulls(seed: UInt64) {
        var random = Seeded(seed &+ 1_000)
        let (operations, _) = Self.history(&random, authors: 3, count: 40)
        var reader = Fixture.log(99)
        let last = reader.received(operations.filter { _ in random.below(3) > 0 }, milliseconds: 1)
        var questions = last.pulls
        var rounds = 0
        // Answering every pull, and nothing else, ends with what was sent and all its causes.
        while !questions.isEmpty, rounds < 200 {
            rounds += 1
            let answer = questions.flatMap { question in
                operations.filter { $0.dot.origin == question.origin && $0.dot.sequence > question.sequence }
            }
            questions = reader.received(answer, milliseconds: 1).pulls
        }
        #expect(questions.isEmpty, "seed \(seed)")
        var sent = VersionVector()
        for operation in operations { sent[operation.dot.origin] = operation.dot.sequence }
        for action in reader.behind(sent) {
            guard case .pull(let origin, let after) = action else { continue }
            _ = reader.received(
                operations.filter { $0.dot.origin == origin && $0.dot.sequence > after }, milliseconds: 1)
        }
        #expect(reader.applied.covers(sent), "seed \(seed)")
    }
}
