import Core
import Testing

@testable import Swarm

@Suite("Answers that a host stands by for") struct StandbyTableTests {
    private static let nodes = (0..<4).map { NodeID(Bytes16(high: 7, low: UInt64($0))) }
    private static let writer = nodes[0]
    private static let question = dot(1)

    private static func dot(_ sequence: UInt64) -> Dot {
        Dot(origin: Origin(node: nodes[0], epoch: 1), sequence: sequence)
    }

    /// A table whose calls may stand in expectations.
    private final class Table {
        private var table: StandbyTable
        init(_ number: Int) { table = StandbyTable(node: nodes[number]) }
        var isEmpty: Bool { table.isEmpty }
        func holds(_ question: Dot) -> Bool { table.holds(question) }
        func stoodBy(for question: Dot, of writer: NodeID, standbys: [NodeID], bytes: Int) -> Bool {
            table.stoodBy(for: question, of: writer, standbys: standbys, bytes: bytes)
        }
        func grew(_ question: Dot, of writer: NodeID, by size: Int) -> Bool {
            table.grew(question, of: writer, by: size)
        }
        func released(_ question: Dot, by writer: NodeID) -> Bool { table.released(question, by: writer) }
        func lostLink(_ question: Dot, of writer: NodeID, at now: Duration) {
            table.lostLink(question, of: writer, at: now)
        }
        func ticked(at now: Duration, living: Set<NodeID>) -> [Dot] { table.ticked(at: now, living: living) }
    }

    /// The host of that number, which stands by with all before it.
    private func table(_ number: Int) -> Table {
        let table = Table(number)
        #expect(table.stoodBy(for: Self.question, of: Self.writer, standbys: Array(Self.nodes[1...]), bytes: 10))
        return table
    }

    private let all = Set(nodes)
    private var others: Set<NodeID> { all.subtracting([Self.writer]) }

    @Test("While the writer lives and is linked, nothing is taken up")
    func lives() {
        let table = table(1)
        #expect(table.ticked(at: .seconds(1_000), living: all).isEmpty)
        #expect(table.holds(Self.question))
    }

    @Test("The first takes an answer up as soon as its writer is gone, once")
    func first() {
        let table = table(1)
        #expect(table.ticked(at: .seconds(1), living: others) == [Self.question])
        #expect(table.ticked(at: .seconds(2), living: others).isEmpty)
        #expect(table.isEmpty)
    }

    @Test("The second waits for its turn, and not where the first is gone too")
    func second() {
        let table = table(2)
        #expect(table.ticked(at: .seconds(1), living: others).isEmpty)
        #expect(table.ticked(at: .seconds(1) + Limits.standbyTurn, living: others) == [Self.question])
        let other = self.table(2)
        #expect(other.ticked(at: .seconds(1), living: others.subtracting([Self.nodes[1]])) == [Self.question])
    }

    @Test("A writer that comes back before anybody's turn keeps its answer")
    func comesBack() {
        let table = table(2)
        #expect(table.ticked(at: .seconds(1), living: others).isEmpty)
        #expect(table.ticked(at: .seconds(2), living: all).isEmpty)
        #expect(table.ticked(at: .seconds(3), living: others).isEmpty)
        #expect(table.ticked(at: .seconds(3) + Limits.standbyTurn, living: others) == [Self.question])
    }

    @Test("A writer that lives and says no more was started anew, unless it says again what is stood by for")
    func lostLink() {
        let table = table(1)
        table.lostLink(Self.question, of: Self.writer, at: .seconds(1))
        #expect(table.ticked(at: .seconds(2), living: all).isEmpty)
        #expect(table.stoodBy(for: Self.question, of: Self.writer, standbys: [Self.nodes[1]], bytes: 10))
        #expect(table.ticked(at: .seconds(60), living: all).isEmpty)
        table.lostLink(Self.question, of: Self.writer, at: .seconds(61))
        #expect(table.ticked(at: .seconds(61) + Limits.standbyPatience, living: all) == [Self.question])
    }

    @Test("Whoever has taken an answer up is its writer from then on, and the first one has no more to say")
    func newWriter() {
        let table = table(2)
        #expect(table.stoodBy(for: Self.question, of: Self.nodes[1], standbys: [Self.nodes[2]], bytes: 10))
        #expect(!table.released(Self.question, by: Self.writer))
        #expect(!table.grew(Self.question, of: Self.writer, by: 1))
        table.lostLink(Self.question, of: Self.writer, at: .seconds(1))
        #expect(table.ticked(at: .seconds(60), living: others).isEmpty)
        #expect(table.ticked(at: .seconds(61), living: [Self.nodes[2]]) == [Self.question])
    }

    @Test("An answer that came to its end is forgotten")
    func released() {
        let table = table(1)
        #expect(table.released(Self.question, by: Self.writer))
        #expect(table.ticked(at: .seconds(60), living: others).isEmpty)
    }

    @Test("What is held is bounded, in number and in bytes, and room comes back")
    func bounds() {
        let table = Table(1)
        for number in 0..<UInt64(Limits.standbyAnswers) {
            #expect(table.stoodBy(for: Self.dot(number), of: Self.writer, standbys: [], bytes: 1))
        }
        let next = Self.dot(UInt64(Limits.standbyAnswers))
        #expect(!table.stoodBy(for: next, of: Self.writer, standbys: [], bytes: 1))
        #expect(!table.grew(Self.dot(0), of: Self.writer, by: Limits.standbyBytes))
        #expect(!table.holds(Self.dot(0)))
        #expect(table.stoodBy(for: next, of: Self.writer, standbys: [], bytes: 1))
        #expect(table.grew(next, of: Self.writer, by: Limits.standbyBytes - Limits.standbyAnswers))
        #expect(!table.grew(next, of: Self.writer, by: 1))
    }
}
