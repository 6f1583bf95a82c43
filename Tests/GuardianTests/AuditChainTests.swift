import Core
import Testing

@testable import Guardian

@Suite struct AuditChainTests {
    private static func event(_ action: String, status: Int = 401) -> AuditEvent {
        AuditEvent(
            .denied, caller: "key:ann", token: "tok_0", address: "10.0.0.2", action: action, target: "x",
            status: status, code: "unauthenticated")
    }

    private static func chain(_ count: Int) -> [AuditEntry] {
        var chain = AuditChain()
        return (0..<count).map { chain.append(event("GET /\($0)"), count: 1, milliseconds: UInt64($0)) }
    }

    @Test("an entry is read as it was written, and long texts are cut between characters")
    func roundTrip() throws {
        let entry = Self.chain(2)[1]
        #expect(try AuditEntry.decode(entry.encoded) == entry)
        var chain = AuditChain()
        var long = Self.event(String(repeating: "ü", count: 1_000))
        long.target = String(repeating: "👩‍👩‍👧‍👦", count: 100)
        let cut = try AuditEntry.decode(chain.append(long, count: 1, milliseconds: 1).encoded)
        #expect(cut.event.action == String(repeating: "ü", count: 128))
        #expect(cut.event.target == String(repeating: "👩‍👩‍👧‍👦", count: 10))
        // It is the bytes that count, so the chain holds over it.
        let next = chain.append(Self.event("GET /"), count: 1, milliseconds: 2)
        #expect(AuditChain.firstBreak(in: [cut, next]) == nil)
    }

    @Test("a whole chain holds, and goes on after a restart")
    func holds() {
        var entries = Self.chain(5)
        var chain = AuditChain(after: entries.last)
        entries.append(chain.append(Self.event("GET /later"), count: 7, milliseconds: 9))
        #expect(entries.map(\.number) == [1, 2, 3, 4, 5, 6])
        #expect(AuditChain.firstBreak(in: entries) == nil)
        #expect(AuditChain.firstBreak(in: []) == nil)
    }

    @Test("whatever is done to the chain, the first link that does not hold is named", arguments: 0..<5)
    func breaks(_ index: Int) {
        let whole: [AuditEntry?] = Self.chain(6)
        let number = UInt64(index + 1)
        var changed = whole
        changed[index]?.event.status = 200
        #expect(AuditChain.firstBreak(in: changed)?.number == number + 1)
        var gone = whole
        gone.remove(at: index)
        #expect(AuditChain.firstBreak(in: gone)?.number == number)
        var unreadable = whole
        unreadable[index] = nil
        #expect(AuditChain.firstBreak(in: unreadable)?.number == number)
        var twice = whole
        twice.insert(whole[index], at: index)
        #expect(AuditChain.firstBreak(in: twice)?.number == number + 1)
        var swapped = whole
        swapped.swapAt(index, index + 1)
        #expect(AuditChain.firstBreak(in: swapped)?.number == number)
    }

    @Test("a storm of refusals is one entry at once and one for the rest of its minute")
    func storm() {
        var tally = DenialTally()
        var written = 0
        for index in 0..<1_000 {
            var event = Self.event("GET /v1/models")
            event.target = "\(index)"
            if tally.noted(event, at: .milliseconds(index)) != nil { written += 1 }
        }
        #expect(written == 1)
        let early = tally.due(at: .seconds(59))
        let due = tally.due(at: .seconds(60))
        let later = tally.due(at: .seconds(200))
        #expect(early.isEmpty && due.map(\.count) == [999] && later.isEmpty)
    }

    @Test("more kinds than are told apart count as one")
    func bounds() {
        var tally = DenialTally()
        var written: [AuditEvent] = []
        for index in 0..<(Limits.auditKinds + 500) {
            if let event = tally.noted(Self.event("GET /\(index)"), at: .zero) { written.append(event) }
        }
        #expect(written.count == Limits.auditKinds + 1)
        #expect(written.last?.code == "many" && written.last?.address == "")
        let rest = tally.rest()
        #expect(rest.map(\.count) == [499])
    }
}
