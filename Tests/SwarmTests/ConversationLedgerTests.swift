import Core
import Swarm
import Testing

@Suite struct ConversationLedgerTests {
    private static func write(_ number: UInt64, _ operations: [Operation]) throws -> Replication.Write {
        var log = Fixture.log(1)
        var write: Replication.Write?
        // The machine alone numbers writes; here only what they hold matters.
        var machine = Replication(Fixture.recovered(1), seals: Fixture.seals(1), seed: 1)
        let (_, effects) = try machine.propose([Fixture.draft()], now: .zero, wallClock: Fixture.wall)
        for effect in effects { if case .commit(let made) = effect { write = made } }
        _ = try log.write("x")
        var made = try #require(write)
        made.number = number
        made.operations = operations
        return made
    }

    private static func meta(_ sequence: UInt64, at milliseconds: UInt64, _ id: String) throws -> Operation {
        var operation = Fixture.operation(Fixture.dot(1, sequence), .conversationMeta, at: milliseconds)
        operation.body = TurnCodec.encode(ConversationMeta(id: try #require(ConversationID(id)), owner: .local))
        return operation
    }

    @Test("A row counts what came before the conversation's description, and shows nothing until that is here")
    func turnsBeforeDescription() throws {
        var ledger = ConversationLedger()
        ledger.load(Fixture.stream, [])
        let answer = Fixture.operation(Fixture.dot(1, 1), .assistantTurn, at: 30, after: [Fixture.dot(2, 9)])
        let first = ledger.commit(try Self.write(1, [answer]))
        #expect(first.conversations.isEmpty && first.removals == [Fixture.stream])
        let rest = [try Self.meta(2, at: 10, "c"), Fixture.operation(Fixture.dot(1, 3), at: 20)]
        let second = ledger.commit(try Self.write(2, rest))
        let row = try #require(second.conversations.first)
        #expect(row.turns == 2)
        #expect(row.created == HybridTimestamp(milliseconds: 10) && row.updated == HybridTimestamp(milliseconds: 30))
        #expect(row == ConversationLedger.header(of: [answer] + rest))
    }

    @Test("A row is the same whatever the order in which its operations come", arguments: 0..<24)
    func order(permutation: Int) throws {
        var operations = [
            try Self.meta(1, at: 40, "late"), try Self.meta(2, at: 10, "early"),
            Fixture.operation(Fixture.dot(1, 3), at: 20), Fixture.operation(Fixture.dot(1, 4), at: 50),
        ]
        let due = ConversationLedger.header(of: operations)
        var shuffled: [Operation] = []
        var rest = permutation
        for count in stride(from: 4, to: 0, by: -1) {
            shuffled.append(operations.remove(at: rest % count))
            rest /= count
        }
        var ledger = ConversationLedger()
        ledger.load(Fixture.stream, [])
        let rows = try shuffled.enumerated().map { index, operation in
            ledger.commit(try Self.write(UInt64(index + 1), [operation])).conversations
        }
        #expect(rows.last?.first == due)
        #expect(due?.id.rawValue == "early" && due?.turns == 2)
    }

    @Test("What becomes visible through an operation that comes late is counted in the same commit")
    func lateCause() throws {
        let delete = Fixture.operation(Fixture.dot(1, 1), .delete, at: 5)
        var described = try Self.meta(2, at: 10, "c")
        described.dependencies = [delete.dot]
        // This host's disk refused the question that both of these follow.
        let question = Fixture.operation(Fixture.dot(2, 1), at: 20, after: [delete.dot])
        let rest = [
            Fixture.operation(Fixture.dot(1, 3), .assistantTurn, at: 30, after: [question.dot]),
            Fixture.operation(Fixture.dot(1, 4), at: 40, after: [Fixture.dot(1, 3)]),
        ]
        var ledger = ConversationLedger()
        ledger.load(Fixture.stream, [], withHistory: true)
        let first = ledger.commit(try Self.write(1, [delete, described] + rest))
        #expect(first.conversations.first?.turns == 0)
        ledger.settled(1)
        let second = ledger.commit(try Self.write(2, [question]))
        #expect(second.conversations.first == ConversationLedger.header(of: [described, question] + rest))
        #expect(second.conversations.first?.turns == 3)
        #expect(!ledger.mustMend)
    }

    @Test("A turn whose content is taken away is not counted, in the same commit")
    func erasure() throws {
        let turns = [Fixture.operation(Fixture.dot(1, 2), at: 20), Fixture.operation(Fixture.dot(1, 3), at: 30)]
        let described = try Self.meta(1, at: 10, "c")
        var ledger = ConversationLedger()
        ledger.load(Fixture.stream, [], withHistory: true)
        _ = ledger.commit(try Self.write(1, [described] + turns))
        var erase = Fixture.operation(Fixture.dot(1, 4), .erase, at: 40, after: [turns[1].dot])
        erase.body = []
        let commit = ledger.commit(try Self.write(2, [erase]))
        #expect(commit.erasures == [turns[1].dot])
        #expect(commit.conversations.first == ConversationLedger.header(of: [described, turns[0]]))
        #expect(!ledger.mustMend)
    }
}
