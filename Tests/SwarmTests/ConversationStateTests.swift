import Core
import Swarm
import Testing

@Suite struct ConversationStateTests {
    /// A random order of `operations` in which causes come first.
    private static func arrival(_ operations: [Operation], _ random: inout Seeded) -> [Operation] {
        var waiting = operations
        var here: Set<Dot> = []
        var order: [Operation] = []
        while !waiting.isEmpty {
            let ready = waiting.indices.filter { waiting[$0].dependencies.allSatisfy(here.contains) }
            guard let index = random.pick(ready) else { return order }
            let operation = waiting.remove(at: index)
            here.insert(operation.dot)
            order.append(operation)
        }
        return order
    }

    @Test(
        "Turns that arrive little by little, in any order, give what all of them at once give",
        arguments: 0..<80 as Range<UInt64>)
    func incremental(seed: UInt64) throws {
        var random = Seeded(seed)
        let operations = LinearisationTests.graph(&random, count: 1 + random.below(30))
        var state = ConversationState()
        var here: [Operation] = []
        var rest = Self.arrival(operations, &random)[...]
        while !rest.isEmpty {
            let size = min(rest.count, 1 + random.below(4))
            let batch = Array(rest.prefix(size))
            rest = rest.dropFirst(size)
            here += batch
            try state.apply(batch + (random.below(3) == 0 ? Array(here.prefix(2)) : []))
            let whole = try ConversationState(here.shuffled(using: &random))
            #expect(state.dots == whole.dots, "seed \(seed)")
            #expect(state.heads == whole.heads, "seed \(seed)")
            #expect(state.transcript.exchanges == whole.transcript.exchanges, "seed \(seed)")
            #expect(state.bytes == whole.bytes, "seed \(seed)")
        }
    }

    @Test("Only turns count, and erased ones no more")
    func kinds() throws {
        let turn = Fixture.operation(Fixture.dot(1, 1))
        var erased = Fixture.operation(Fixture.dot(1, 2), after: [turn.dot])
        erased.flags = .erased
        let meta = Operation(
            dot: Fixture.dot(1, 3), kind: .conversationMeta, timestamp: HybridTimestamp(rawValue: 1),
            stream: Fixture.stream, body: [1])
        let unknown = Operation(
            dot: Fixture.dot(1, 4), kind: Operation.Kind(rawValue: 99), timestamp: HybridTimestamp(rawValue: 1),
            stream: Fixture.stream, body: [1])
        let state = try ConversationState([turn, erased, meta, unknown])
        #expect(state.dots == [turn.dot])
        #expect(state.heads == [turn.dot])
    }

    @Test("A turn that cannot be read is an error, not a trap")
    func damage() {
        var turn = Fixture.operation(Fixture.dot(1, 1))
        turn.body = [1]
        #expect(throws: RuntimeError.self) { try ConversationState([turn]) }
    }

    @Test("A turn is found by its dot")
    func lookup() throws {
        let turn = Fixture.operation(Fixture.dot(1, 1), at: 5, text: "hello")
        let state = try ConversationState([turn])
        #expect(state.turn(turn.dot)?.turn.message == Message(.user, "hello"))
        #expect(state.turn(turn.dot)?.timestamp == turn.timestamp)
        #expect(state.turn(Fixture.dot(9, 9)) == nil)
    }
}
