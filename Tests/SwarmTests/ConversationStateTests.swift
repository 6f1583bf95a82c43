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
            state.apply(batch + (random.below(3) == 0 ? Array(here.prefix(2)) : []))
            let whole = ConversationState(here.shuffled(using: &random))
            #expect(state.dots == whole.dots, "seed \(seed)")
            #expect(state.heads == whole.heads, "seed \(seed)")
            #expect(state.transcript.exchanges == whole.transcript.exchanges, "seed \(seed)")
            #expect(state.bytes == whole.bytes, "seed \(seed)")
        }
    }

    @Test("Only turns count; an erased one is not shown, and holds its place")
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
        let state = ConversationState([turn, erased, meta, unknown])
        #expect(state.dots == [turn.dot])
        #expect(state.heads == [erased.dot])
    }

    private static func note(_ note: TurnNote, _ dot: Dot, on turn: Dot, at time: UInt64) throws -> Operation {
        let id = try #require(ConversationID("c"))
        return Operation(
            dot: dot, kind: .conversationMeta, timestamp: HybridTimestamp(rawValue: time), stream: Fixture.stream,
            dependencies: [turn], body: TurnCodec.encode(ConversationMeta(id: id, owner: .local, note: note)))
    }

    @Test("Of several notes on a turn the newest counts, whatever the order in which they came")
    func notes() throws {
        let turn = Fixture.operation(Fixture.dot(1, 1))
        let notes = [
            try Self.note(.annotation(["n": 1]), Fixture.dot(1, 2), on: turn.dot, at: 20),
            try Self.note(.annotation(["n": 2]), Fixture.dot(2, 1), on: turn.dot, at: 30),
            try Self.note(.cancelled, Fixture.dot(2, 2), on: turn.dot, at: 40),
        ]
        for order in [notes, notes.reversed()] {
            var state = ConversationState([turn])
            #expect(state.turn(turn.dot)?.turn.annotation == nil && !state.isCancelled(turn.dot))
            state.apply(order)
            #expect(state.turn(turn.dot)?.turn.annotation == ["n": 2] && state.isCancelled(turn.dot))
            #expect(state.dots == [turn.dot] && state.heads == [turn.dot] && state.metadata == nil)
        }
    }

    @Test("A turn that this version cannot read is not shown; what follows it is")
    func unreadable() {
        let first = Fixture.operation(Fixture.dot(1, 1))
        var strange = Fixture.operation(Fixture.dot(1, 2), after: [first.dot])
        strange.body = [1, 6] + Array("oracle".utf8) + [2, 1, 120]
        let last = Fixture.operation(Fixture.dot(1, 3), after: [strange.dot])
        for state in [ConversationState([first, strange, last]), Self.oneByOne([first, strange, last])] {
            #expect(state.dots == [first.dot, last.dot])
            #expect(state.heads == [last.dot])
        }
        #expect(ConversationState([first, strange]).heads == [strange.dot])
    }

    private static func oneByOne(_ operations: [Operation]) -> ConversationState {
        var state = ConversationState()
        for operation in operations { state.apply([operation]) }
        return state
    }

    private static func delete(_ dot: Dot, after: [Dot]) -> Operation {
        Operation(
            dot: dot, kind: .delete, timestamp: HybridTimestamp(milliseconds: 9), stream: Fixture.stream,
            dependencies: after, body: [])
    }

    @Test("A delete takes all that does not descend from it, also what was written at the same time")
    func deletion() {
        let first = Fixture.operation(Fixture.dot(1, 1))
        let delete = Self.delete(Fixture.dot(2, 1), after: [first.dot])
        let concurrent = Fixture.operation(Fixture.dot(1, 2), after: [first.dot])
        let anew = Fixture.operation(Fixture.dot(3, 1), after: [delete.dot])
        let next = Fixture.operation(Fixture.dot(3, 2), after: [anew.dot])
        let all = [first, delete, concurrent, anew, next]
        #expect(ConversationState([first, delete]).dots.isEmpty)
        #expect(ConversationState([first, delete]).nextDependencies == [delete.dot])
        var random = Seeded(1)
        for _ in 0..<40 {
            for state in [ConversationState(all), Self.oneByOne(Self.arrival(all, &random))] {
                #expect(state.dots == [anew.dot, next.dot])
                #expect(state.heads == [next.dot])
                #expect(state.turn(first.dot) == nil)
                #expect(state.transcript.exchanges.count == 2)
            }
        }
    }

    @Test(
        "What waits for a cause that the disk refused is neither shown nor taken for deleted, until the cause is back")
    func missingCause() {
        let first = Fixture.operation(Fixture.dot(1, 1))
        let delete = Self.delete(Fixture.dot(2, 1), after: [first.dot])
        let anew = Fixture.operation(Fixture.dot(3, 1), after: [delete.dot])
        let lost = Fixture.operation(Fixture.dot(4, 1), after: [anew.dot])
        let answer = Fixture.operation(Fixture.dot(4, 2), .assistantTurn, after: [lost.dot])
        var state = Self.oneByOne([first, delete, anew, answer])
        #expect(state.dots == [anew.dot])
        state.apply([lost])
        #expect(state.dots == [anew.dot, lost.dot, answer.dot])
        var history = StreamHistory([first, delete, anew, answer])
        #expect(history.hidden == [first.dot])
        #expect(history.isUndetermined(answer.dot))
        history.add(lost)
        #expect(history.isVisible(answer.dot) && !history.hasUndetermined)
        // And where the cause turns out to be deleted, so is what followed it.
        let gone = Fixture.operation(Fixture.dot(4, 1), after: [first.dot])
        var other = StreamHistory([first, delete, anew, answer])
        other.add(gone)
        #expect(other.hidden == [first.dot, gone.dot, answer.dot])
    }

    @Test("Of two deletes at once, what was begun anew after one of them only is gone")
    func concurrentDeletes() {
        let first = Fixture.operation(Fixture.dot(1, 1))
        let deletes = [
            Self.delete(Fixture.dot(2, 1), after: [first.dot]), Self.delete(Fixture.dot(3, 1), after: [first.dot]),
        ]
        let early = Fixture.operation(Fixture.dot(2, 2), after: [deletes[0].dot])
        #expect(ConversationState([first] + deletes + [early]).dots.isEmpty)
        let state = ConversationState([first] + deletes)
        #expect(state.nextDependencies == deletes.map(\.dot))
        let anew = Fixture.operation(Fixture.dot(4, 1), after: state.nextDependencies)
        #expect(ConversationState([first] + deletes + [early, anew]).dots == [anew.dot])
    }

    @Test(
        "A request retried on a host that did not know of the first stands once, with a whole answer",
        arguments: [(true, true), (true, false), (false, true), (false, false)])
    func retriedElsewhere(firstAnswered: Bool, secondAnswered: Bool) {
        let key = Bytes16(high: 5, low: 5)
        func question(_ dot: Dot) -> Operation {
            var operation = Fixture.operation(dot)
            operation.body = Fixture.body("q", key: key)
            return operation
        }
        let questions = [question(Fixture.dot(1, 1)), question(Fixture.dot(2, 1))]
        var all = questions
        if firstAnswered { all.append(Fixture.operation(Fixture.dot(1, 2), .assistantTurn, after: [questions[0].dot])) }
        if secondAnswered {
            all.append(Fixture.operation(Fixture.dot(2, 2), .assistantTurn, after: [questions[1].dot]))
        }
        let kept = secondAnswered && !firstAnswered ? 1 : 0
        var random = Seeded(3)
        for _ in 0..<20 {
            for state in [ConversationState(all), Self.oneByOne(Self.arrival(all, &random))] {
                #expect(state.dots.first == questions[kept].dot)
                #expect(state.dots.count == (firstAnswered || secondAnswered ? 2 : 1))
                #expect(state.transcript.exchanges.count == 1)
                // Both are followed by what comes next.
                #expect(state.heads.count == 2)
            }
        }
    }

    @Test("A turn is found by its dot")
    func lookup() throws {
        let turn = Fixture.operation(Fixture.dot(1, 1), at: 5, text: "hello")
        let state = ConversationState([turn])
        #expect(state.turn(turn.dot)?.turn.message == Message(.user, "hello"))
        #expect(state.turn(turn.dot)?.timestamp == turn.timestamp)
        #expect(state.turn(Fixture.dot(9, 9)) == nil)
    }
}
