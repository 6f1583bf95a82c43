import Core
import Swarm
import Testing

@Suite struct LinearisationTests {
    /// Random turns of one conversation, each after some of those before it; questions with their answers among them.
    static func graph(_ random: inout Seeded, count: Int) -> [Operation] {
        var operations: [Operation] = []
        var sequences: [UInt64: UInt64] = [:]
        while operations.count < count {
            let node = UInt64(1 + random.below(3))
            sequences[node, default: 0] += 1
            let dot = Fixture.dot(node, sequences[node] ?? 1)
            if random.below(2) == 0, let question = random.pick(operations.filter { $0.kind == .userTurn }) {
                operations.append(
                    Fixture.operation(dot, .assistantTurn, at: UInt64(random.below(20)), after: [question.dot]))
            } else {
                let seen = Array(operations.prefix(random.below(operations.count + 1)))
                let heads =
                    random.below(3) > 0
                    ? Linearisation.heads(of: seen) : (0..<random.below(3)).compactMap { _ in random.pick(seen)?.dot }
                operations.append(Fixture.operation(dot, at: UInt64(random.below(20)), after: heads))
            }
        }
        return operations
    }

    @Test(
        "The order is the same for every permutation, holds each once, and puts causes first",
        arguments: 0..<80 as Range<UInt64>)
    func permutations(seed: UInt64) {
        var random = Seeded(seed)
        var operations = Self.graph(&random, count: 1 + random.below(40))
        let expected = Linearisation.order(operations).map(\.dot)
        #expect(Set(expected) == Set(operations.map(\.dot)), "seed \(seed)")
        #expect(expected.count == operations.count, "seed \(seed)")
        let places = Dictionary(uniqueKeysWithValues: expected.enumerated().map { ($1, $0) })
        for operation in operations {
            for dependency in operation.dependencies {
                #expect((places[dependency] ?? .max) < (places[operation.dot] ?? 0), "seed \(seed)")
            }
        }
        for _ in 0..<5 {
            operations.shuffle(using: &random)
            #expect(Linearisation.order(operations + operations.prefix(3)).map(\.dot) == expected, "seed \(seed)")
        }
    }

    @Test("Two concurrent continuations appear as two whole pairs")
    func pairs() {
        let first = Fixture.operation(Fixture.dot(1, 1), at: 1)
        let left = Fixture.operation(Fixture.dot(1, 2), at: 2, after: [first.dot])
        let right = Fixture.operation(Fixture.dot(2, 1), at: 3, after: [first.dot])
        let rightAnswer = Fixture.operation(Fixture.dot(2, 2), .assistantTurn, at: 4, after: [right.dot])
        let leftAnswer = Fixture.operation(Fixture.dot(1, 3), .assistantTurn, at: 9, after: [left.dot])
        let order = Linearisation.order([rightAnswer, leftAnswer, right, left, first])
        #expect(order.map(\.dot) == [first, left, leftAnswer, right, rightAnswer].map(\.dot))
    }

    @Test("Among concurrent ones time decides, then the host, then the sequence")
    func ties() {
        let operations = [
            Fixture.operation(Fixture.dot(1, 1), at: 5), Fixture.operation(Fixture.dot(2, 1), at: 4),
            Fixture.operation(Fixture.dot(3, 1), at: 4), Fixture.operation(Fixture.dot(3, 2), at: 4),
        ]
        #expect(
            Linearisation.order(operations.reversed()).map(\.dot)
                == [Fixture.dot(2, 1), Fixture.dot(3, 1), Fixture.dot(3, 2), Fixture.dot(1, 1)])
    }

    @Test("Heads are what nothing follows")
    func heads() {
        let first = Fixture.operation(Fixture.dot(1, 1))
        let left = Fixture.operation(Fixture.dot(1, 2), after: [first.dot])
        let right = Fixture.operation(Fixture.dot(2, 1), after: [first.dot])
        #expect(Linearisation.heads(of: []) == [])
        #expect(Linearisation.heads(of: [first]) == [first.dot])
        #expect(Linearisation.heads(of: [right, first, left]) == [left.dot, right.dot])
        let join = Fixture.operation(Fixture.dot(2, 2), after: [right.dot, left.dot])
        #expect(Linearisation.heads(of: [join, right, first, left]) == [join.dot])
    }

    @Test("Dependencies outside of the set, on itself or in a circle do not hang or trap")
    func oddities() {
        let outside = Fixture.operation(Fixture.dot(1, 1), after: [Fixture.dot(8, 8)])
        let itself = Fixture.operation(Fixture.dot(1, 2), after: [Fixture.dot(1, 2)])
        let one = Fixture.operation(Fixture.dot(2, 1), after: [Fixture.dot(3, 1)])
        let other = Fixture.operation(Fixture.dot(3, 1), after: [Fixture.dot(2, 1)])
        #expect(Linearisation.order([one, other, itself, outside]).map(\.dot) == [outside.dot, itself.dot])
    }
}
