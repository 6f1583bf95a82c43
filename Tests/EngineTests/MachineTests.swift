import Core
import Testing

@testable import Engine

private let start = ContinuousClock().now

@Suite("The life of a persistent child")
struct SupervisorTests {
    private var supervisor = Supervisor(bounds: EngineBounds())

    private mutating func crash(after seconds: Double) -> [Supervisor.Action] {
        supervisor.ended(
            generation: supervisor.generation, reason: "it ended", at: start + .milliseconds(Int64(seconds * 1_000)))
    }

    /// The token of the one timer among the actions, and its delay.
    private func timer(_ actions: [Supervisor.Action]) -> (token: UInt64, delay: Duration)? {
        for case .schedule(let token, let delay) in actions { return (token, delay) }
        return nil
    }

    @Test("a start is watched, readiness ends the watch")
    mutating func readiness() throws {
        let actions = supervisor.started(at: start)
        #expect(actions.first == .launch(generation: 1))
        let watch = try #require(timer(actions))
        #expect(watch.delay == Limits.engineReadiness)
        supervisor.becameReady(generation: 1)
        #expect(supervisor.phase == .ready)
        #expect(supervisor.expired(token: watch.token, at: start + watch.delay).isEmpty)
    }

    @Test("a child that is not ready in time is killed, and that is the reason shown")
    mutating func lateReadiness() throws {
        let watch = try #require(timer(supervisor.started(at: start)))
        #expect(supervisor.expired(token: watch.token, at: start + watch.delay) == [.kill(generation: 1)])
        _ = crash(after: 121)
        #expect(supervisor.phase == .delayed(reason: "it was not ready within 120 s"))
    }

    @Test("a child that shows progress has as long again")
    mutating func progress() throws {
        let first = try #require(timer(supervisor.started(at: start)))
        let second = try #require(timer(supervisor.progressed(generation: 1)))
        #expect(supervisor.expired(token: first.token, at: start + first.delay).isEmpty)
        #expect(supervisor.expired(token: second.token, at: start + second.delay) == [.kill(generation: 1)])
        supervisor.becameReady(generation: 1)
        #expect(supervisor.progressed(generation: 1).isEmpty)
    }

    @Test("the delay doubles, the third crash of a minute is a quarantine, which doubles too")
    mutating func backOff() throws {
        _ = supervisor.started(at: start)
        let first = try #require(timer(crash(after: 1)))
        #expect(first.delay == .milliseconds(200))
        #expect(supervisor.expired(token: first.token, at: start + .seconds(2)).first == .launch(generation: 2))
        let second = try #require(timer(crash(after: 3)))
        #expect(second.delay == .milliseconds(400))
        #expect(supervisor.expired(token: second.token, at: start + .seconds(4)).first == .launch(generation: 3))
        let third = crash(after: 5)
        #expect(third.contains(.refuseWaiting))
        #expect(supervisor.phase == .quarantined(reason: "it ended", until: start + .seconds(35)))
        let trial = try #require(timer(third))
        #expect(trial.delay == .seconds(30))
        #expect(supervisor.expired(token: trial.token, at: start + .seconds(35)).first == .launch(generation: 4))
        supervisor.becameReady(generation: 4)
        #expect(try #require(timer(crash(after: 40))).delay == .seconds(60))
    }

    @Test("what a child lacks is no crash: it is looked for again and again, and requests are refused meanwhile")
    mutating func lack() throws {
        _ = supervisor.started(at: start)
        for generation in 1...20 as ClosedRange<UInt64> {
            let actions = supervisor.lacked(generation: generation, reason: "b is dead")
            #expect(actions.contains(.refuseWaiting))
            #expect(supervisor.phase == .lacking(reason: "b is dead"))
            #expect(supervisor.reason == "b is dead")
            let retry = try #require(timer(actions))
            #expect(retry.delay == Limits.workerRetry)
            #expect(
                supervisor.expired(token: retry.token, at: start + .seconds(Int64(generation))).first
                    == .launch(generation: generation + 1))
        }
        #expect(supervisor.lacked(generation: 3, reason: "late").isEmpty, "of an earlier child")
        supervisor.becameReady(generation: 21)
        #expect(supervisor.lacked(generation: 21, reason: "late").isEmpty, "it has begun")
    }

    @Test("why a child is being ended is known before it has ended")
    mutating func verdict() {
        _ = supervisor.started(at: start)
        supervisor.becameReady(generation: 1)
        #expect(supervisor.reason == nil)
        _ = supervisor.condemned(generation: 1, reason: "the worker is lost")
        #expect(supervisor.reason == "the worker is lost")
    }

    @Test("a minute of good work forgives earlier crashes")
    mutating func forgiveness() throws {
        _ = supervisor.started(at: start)
        for second in [1.0, 120, 240, 360, 480] {
            let actions = crash(after: second)
            let delay = try #require(timer(actions))
            #expect(delay.delay <= .milliseconds(400), "\(second)")
            #expect(!actions.contains(.refuseWaiting))
            _ = supervisor.expired(token: delay.token, at: start + .milliseconds(Int64(second * 1_000) + 500))
            supervisor.becameReady(generation: supervisor.generation)
        }
    }

    @Test("late timers, other generations and events after the stop change nothing")
    mutating func strangers() throws {
        let watch = try #require(timer(supervisor.started(at: start)))
        #expect(supervisor.ended(generation: 7, reason: "other", at: start).isEmpty)
        #expect(supervisor.condemned(generation: 7, reason: "other").isEmpty)
        #expect(supervisor.expired(token: watch.token + 1, at: start).isEmpty)
        #expect(supervisor.started(at: start).isEmpty)
        supervisor.stopped()
        #expect(crash(after: 1).isEmpty)
        #expect(supervisor.expired(token: watch.token, at: start).isEmpty)
        #expect(supervisor.phase == .stopped)
    }
}

@Suite("Who runs and who waits")
struct AdmissionQueueTests {
    @Test("slots are filled in order of arrival, the rest waits, too many are refused")
    func order() {
        var queue = AdmissionQueue(slots: 1, maximumWaiting: 2)
        let ids = (1...4).map { RequestID(number: $0) }
        #expect(ids.map { queue.enter($0) } == [.runs, .waits, .waits, .refused])
        queue.leave(ids[0])
        #expect(queue.advance() == [ids[1]])
        queue.leave(ids[2])
        queue.leave(ids[1])
        #expect(queue.advance().isEmpty)
        #expect(queue.running.isEmpty && queue.waiting.isEmpty)
    }

    @Test("nobody overtakes those that wait for the engine's start")
    func start() {
        var queue = AdmissionQueue(slots: 0, maximumWaiting: 8)
        let ids = (1...3).map { RequestID(number: $0) }
        for id in ids { #expect(queue.enter(id) == .waits) }
        queue.slots = 2
        #expect(queue.enter(RequestID(number: 4)) == .waits)
        #expect(queue.advance() == [ids[0], ids[1]])
        queue.postpone(ids[1])
        queue.postpone(ids[0])
        #expect(queue.waiting.map(\.number) == [1, 2, 3, 4])
    }

    @Test("never more run than there are slots, whatever happens")
    func invariants() {
        var random = SeededGenerator(seed: 99)
        var queue = AdmissionQueue(slots: 3, maximumWaiting: 5)
        for number in 1...5_000 {
            let id = RequestID(number: UInt64(number))
            switch Int.random(in: 0..<4, using: &random) {
            case 0, 1: _ = queue.enter(id)
            case 2: if let any = queue.running.randomElement(using: &random) { queue.leave(any) }
            default: if let any = queue.waiting.randomElement(using: &random) { queue.leave(any) }
            }
            _ = queue.advance()
            #expect(queue.running.count <= 3)
            #expect(queue.waiting.count <= 5)
            #expect(queue.waiting.isEmpty || queue.running.count == 3)
            #expect(queue.running.isDisjoint(with: queue.waiting))
        }
    }
}

@Suite("A run's clock")
struct RunClockTests {
    @Test("tells silence, length, a stalled reader and a program that does not end")
    func verdicts() {
        let bounds = EngineBounds()
        var clock = RunClock(bounds: bounds, at: start)
        #expect(clock.verdict(at: start + bounds.stall) == nil)
        #expect(code(clock.verdict(at: start + bounds.stall + .seconds(1))) == .engineFailed)
        clock.heard(at: start + .seconds(200))
        #expect(clock.verdict(at: start + .seconds(450)) == nil)
        clock.blocked(at: start + .seconds(450))
        #expect(clock.verdict(at: start + .seconds(470)) == nil)
        #expect(code(clock.verdict(at: start + .seconds(481))) == .timedOut)
        clock.unblocked(at: start + .seconds(490))
        #expect(clock.verdict(at: start + .seconds(700)) == nil)
        clock.ending(at: start + .seconds(700))
        #expect(clock.verdict(at: start + .seconds(702)) == nil)
        guard case .overdue = clock.verdict(at: start + .seconds(703)) else {
            Issue.record("it should be killed")
            return
        }
    }

    @Test("a program is asked while somebody waits for it and it writes nothing")
    func asked() {
        let bounds = EngineBounds()
        var clock = RunClock(bounds: bounds, at: start)
        #expect(!clock.isAsked(at: start))
        #expect(clock.isAsked(at: start + bounds.beat))
        clock.heard(at: start + .seconds(10))
        #expect(!clock.isAsked(at: start + .seconds(10)))
        #expect(clock.isAsked(at: start + .seconds(11)))
        clock.blocked(at: start + .seconds(11))
        #expect(!clock.isAsked(at: start + .seconds(20)))
        clock.unblocked(at: start + .seconds(20))
        #expect(clock.isAsked(at: start + .seconds(21)))
        clock.ending(at: start + .seconds(21))
        #expect(!clock.isAsked(at: start + .seconds(30)))
    }

    private func code(_ verdict: RunClock.Verdict?) -> RuntimeError.Code? {
        if case .failed(let error) = verdict { error.code } else { nil }
    }
}
