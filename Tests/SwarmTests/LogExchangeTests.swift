import Core
import Swarm
import Testing

@Suite struct LogExchangeTests {
    /// Batches of several hosts whose operations depend on one another at random.
    private static func history(
        _ random: inout Seeded, authors: Int, count: Int
    ) throws -> (batches: [OperationBatch], heads: [LogHead]) {
        var logs = (0..<authors).map { Fixture.log(UInt64($0 + 1)) }
        var written: [OperationBatch] = []
        while written.count < count {
            let author = random.below(authors)
            if random.below(2) == 0 {
                // It hears of the others' work up to some point of the common past: causes come with their effects.
                _ = logs[author].take(Array(written.prefix(random.below(written.count + 1))))
            }
            let seen = written.flatMap(\.operations).filter { logs[author].applied.contains($0.dot) }
            let after = (0..<random.below(3)).compactMap { _ in random.pick(seen)?.dot }
            let drafts = (0...random.below(3)).map { Fixture.draft("\(written.count)/\($0)", after: after) }
            written += try logs[author].write(drafts, milliseconds: UInt64(written.count / 3))
        }
        return (written, logs.map { $0.head(of: $0.origin) })
    }

    /// What a store makes of neighbouring batches: one, under the last seal.
    private static func joined(_ batches: [OperationBatch], _ random: inout Seeded) -> [OperationBatch] {
        var joined: [OperationBatch] = []
        for (_, own) in Dictionary(grouping: batches, by: \.origin).sorted(by: { $0.key < $1.key }) {
            var rest = own[...]
            while !rest.isEmpty {
                let part = rest.prefix(1 + random.below(4))
                rest = rest.dropFirst(part.count)
                if let last = part.last {
                    joined.append(OperationBatch(operations: part.flatMap(\.operations), seal: last.seal))
                }
            }
        }
        return joined
    }

    @Test(
        "Any order and repetition of batches gives the same log; each operation comes once, after its causes",
        arguments: 0..<60 as Range<UInt64>)
    func anyOrder(seed: UInt64) throws {
        var random = Seeded(seed)
        let (batches, heads) = try Self.history(&random, authors: 2 + random.below(4), count: 20 + random.below(40))
        for round in 0..<4 {
            let isDivisible = round == 3
            let sent = isDivisible ? Self.joined(batches, &random) : batches
            var shuffled = sent + (0..<10).compactMap { _ in random.pick(sent) }
            shuffled.shuffle(using: &random)
            var reader = Fixture.log(99)
            var applied = VersionVector()
            var order: [Dot] = []
            var chains: [Origin: LogHead] = [:]
            var rest = shuffled[...]
            while !rest.isEmpty {
                let size = min(rest.count, 1 + random.below(5))
                let actions = reader.take(Array(rest.prefix(size)), isDivisible: isDivisible)
                rest = rest.dropFirst(size)
                #expect(actions.dropped.isEmpty && actions.rejected.isEmpty, "seed \(seed)")
                for operation in actions.applied {
                    #expect(operation.dot.sequence == applied[operation.dot.origin] + 1, "seed \(seed)")
                    #expect(operation.dependencies.allSatisfy { applied.contains($0) }, "seed \(seed)")
                    applied[operation.dot.origin] = operation.dot.sequence
                    order.append(operation.dot)
                }
                for head in actions.heads { chains[head.origin] = head }
                #expect(reader.applied == applied, "seed \(seed)")
                // What was sent whole is applied whole: every end has its seal.
                if !isDivisible {
                    for head in actions.heads {
                        #expect(reader.seals[head.origin]?.sequence == head.sequence, "seed \(seed)")
                    }
                }
            }
            #expect(Set(order) == Set(batches.flatMap(\.operations).map(\.dot)), "seed \(seed)")
            #expect(order.count == Set(order).count, "seed \(seed)")
            #expect(heads.filter { $0.sequence > 0 } == heads.compactMap { chains[$0.origin] }, "seed \(seed)")
            #expect(reader.parked.batches == 0 && reader.parked.bytes == 0, "seed \(seed)")
        }
    }

    @Test("While anything is missing, something is asked for", arguments: 0..<30 as Range<UInt64>)
    func pulls(seed: UInt64) throws {
        var random = Seeded(seed &+ 1_000)
        let (batches, _) = try Self.history(&random, authors: 3, count: 40)
        var reader = Fixture.log(99)
        let last = reader.take(batches.filter { _ in random.below(3) > 0 })
        var questions = last.pulls
        var rounds = 0
        // Answering every pull, and nothing else, ends with what was sent and all its causes.
        while !questions.isEmpty, rounds < 200 {
            rounds += 1
            let answer = questions.flatMap { question in
                batches.filter { $0.origin == question.origin && $0.seal.sequence > question.sequence }
            }
            questions = reader.take(answer).pulls
        }
        #expect(questions.isEmpty, "seed \(seed)")
        #expect(reader.parked.batches == 0, "seed \(seed)")
    }
}
