import Core
import Swarm
import Testing

@Suite("The two ends of a link for work") struct WorkMachineTests {
    private static let answer = Work.generate(GenerationRequest(messages: [Message(.user, "hi")], maximumTokens: 5))
    private static let done = GenerationEvent.finished(
        reason: .stop, usage: TokenUsage(promptTokens: 1, completionTokens: 1))

    private static func ask(_ ledger: inout WorkLedger, _ work: Work, at now: Duration) throws -> UInt64 {
        let asked = ledger.asked(work, of: "m", at: now)
        return try #require(asked).id
    }

    @Test("Events are delivered until the answer's end, and none after it")
    func events() throws {
        var ledger = WorkLedger(at: .zero)
        let asked = ledger.asked(Self.answer, of: "m", at: .zero)
        let (id, actions) = try #require(asked)
        #expect(actions == [.send(.ask(id, model: "m", Self.answer))])
        #expect(!ledger.isIdle)
        #expect(
            ledger.received(.event(id, .text("a")), bytes: 4, at: .zero) == [.deliver(id, .text("a"), bytes: 4)])
        #expect(
            ledger.received(.event(id, Self.done), bytes: 8, at: .seconds(1)) == [
                .deliver(id, Self.done, bytes: 8), .end(id),
            ])
        #expect(ledger.received(.event(id, .text("b")), bytes: 4, at: .seconds(1)).isEmpty)
        #expect(ledger.isIdle)
        #expect(ledger.idleSince == .seconds(1))
    }

    @Test("Who asks for one thing gets no other")
    func mismatch() throws {
        var ledger = WorkLedger(at: .zero)
        let answer = try Self.ask(&ledger, Self.answer, at: .zero)
        let count = try Self.ask(&ledger, .embed(["a"]), at: .zero)
        let notAsked = WorkLedger.Action.condemn("it answered with what was not asked for")
        #expect(ledger.received(.result(answer, .count(1)), bytes: 3, at: .zero) == [notAsked])
        #expect(ledger.received(.event(count, .text("a")), bytes: 3, at: .zero) == [notAsked])
        #expect(
            ledger.received(.cancel(count), bytes: 3, at: .zero) == [
                .condemn("it asks on a link that it did not open")
            ])
    }

    @Test("An abandoned request is cancelled, once")
    func abandoned() throws {
        var ledger = WorkLedger(at: .zero)
        let id = try Self.ask(&ledger, Self.answer, at: .zero)
        #expect(ledger.abandoned(id, at: .zero) == [.send(.cancel(id))])
        #expect(ledger.abandoned(id, at: .zero).isEmpty)
        #expect(ledger.received(.event(id, .text("late")), bytes: 4, at: .zero).isEmpty)
    }

    @Test("A host that says nothing is given up; one that answers pings is not")
    func silence() throws {
        var ledger = WorkLedger(at: .zero)
        #expect(ledger.ticked(at: .seconds(100)).isEmpty, "nothing is open")
        let id = try Self.ask(&ledger, Self.answer, at: .seconds(100))
        var now = Duration.seconds(100)
        for _ in 0..<40 {
            now += Limits.workPing
            #expect(ledger.ticked(at: now) == [.send(.ping)])
            #expect(ledger.received(.pong, bytes: 1, at: now).isEmpty)
        }
        let heard = now
        while ledger.ticked(at: now) != [.silent] { now += Limits.workPing }
        #expect(now - heard > Limits.workSilence && now - heard <= Limits.workSilence + Limits.workPing)
        #expect(ledger.received(.event(id, .text("back")), bytes: 4, at: now).count == 1, "it was only slow")
    }

    @Test("A tick that comes late is this host's fault: a second without processor gives nobody up")
    func starved() throws {
        var ledger = WorkLedger(at: .zero)
        _ = try Self.ask(&ledger, Self.answer, at: .zero)
        #expect(ledger.ticked(at: Limits.workPing) == [.send(.ping)])
        #expect(ledger.ticked(at: .seconds(30)) == [.send(.ping)])
        #expect(ledger.ticked(at: .seconds(60)) == [.send(.ping)])
        #expect(ledger.ticked(at: .seconds(90)) == [.silent])
    }

    @Test("A slow reader stops the writer after a window, and starts it again as it reads")
    func credit() throws {
        var ledger = WorkLedger(at: .zero)
        var table = WorkTable()
        let id = try Self.ask(&ledger, Self.answer, at: .zero)
        #expect(table.received(.ask(id, model: "m", Self.answer)) == [.begin(id, model: "m", Self.answer)])
        let piece = 1_000
        var sent = 0
        while !table.isFull(id) {
            table.sent(id, piece)
            #expect(ledger.received(.event(id, .text("x")), bytes: piece, at: .zero).count == 1)
            sent += piece
        }
        #expect(sent >= Limits.workWindowBytes && sent < Limits.workWindowBytes + piece)
        var resumed = false
        while sent > 0 {
            for case .send(let message) in ledger.consumed(id, piece) {
                for action in table.received(message) { resumed = resumed || action == .resume(id) }
            }
            sent -= piece
        }
        #expect(resumed)
        #expect(!table.isFull(id))
    }

    @Test("Who sends more than the window is no host to rely on")
    func flood() throws {
        var ledger = WorkLedger(at: .zero)
        let id = try Self.ask(&ledger, Self.answer, at: .zero)
        #expect(ledger.received(.event(id, .text("x")), bytes: Limits.workWindowBytes + 1, at: .zero).count == 1)
        #expect(
            ledger.received(.event(id, .text("x")), bytes: 1, at: .zero) == [.condemn("it sent more than it may")])
    }

    @Test("The desk takes each number once, bounds what is open, and answers pings")
    func desk() {
        var table = WorkTable()
        #expect(table.received(.ping) == [.send(.pong)])
        #expect(table.received(.ask(5, model: "m", .describe)) == [.begin(5, model: "m", .describe)])
        #expect(table.received(.ask(5, model: "m", .describe)) == [.condemn("it gave one number to two requests")])
        #expect(table.received(.cancel(5)) == [.cancel(5)])
        #expect(table.received(.cancel(5)).isEmpty)
        #expect(table.received(.event(5, .text("a"))) == [.condemn("it answers what nobody asked")])
        for number in 0..<UInt64(Limits.workPerLink) {
            #expect(table.received(.ask(10 + number, model: "m", .describe)).count == 1)
        }
        guard case .send(.failed(9_999, let failure))? = table.received(.ask(9_999, model: "m", .describe)).first else {
            Issue.record("one too many was taken")
            return
        }
        #expect(failure.code == .overloaded)
    }
}
