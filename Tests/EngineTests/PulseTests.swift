import Core
import Testing

@testable import Engine

@Suite("Whether a child that owes an answer still lives")
struct PulseTests {
    private let missed = Limits.enginePulse.missed

    @Test("one that takes no processor time for eight beats stands still")
    func still() {
        var pulse = Pulse()
        let beats = (0...missed).map { _ in pulse.beat(isAsked: true, ticks: 100) }
        #expect(beats == [Bool](repeating: false, count: missed) + [true])
        // It is not said again at each beat that follows.
        let next = pulse.beat(isAsked: true, ticks: 100)
        #expect(!next)
    }

    @Test("a server that looks at its sockets does not work; one that computes now and then does")
    func little() {
        var idle = Pulse()
        let first = (0...missed).map { idle.beat(isAsked: true, ticks: 100 + $0 / 4) }
        #expect(first.last == true)
        var slow = Pulse()
        let second = (0...10 * missed).map { slow.beat(isAsked: true, ticks: 100 + $0 * 3 / (missed - 1)) }
        #expect(!second.contains(true))
    }

    @Test("nobody asks, or nothing can be told: it begins anew")
    func unknown() {
        for pause in [(false, Int?(100)), (true, nil)] {
            var pulse = Pulse()
            var beats = (0..<missed).map { _ in pulse.beat(isAsked: true, ticks: 100) }
            beats.append(pulse.beat(isAsked: pause.0, ticks: pause.1))
            beats += (0...missed).map { _ in pulse.beat(isAsked: true, ticks: 100) }
            #expect(beats == [Bool](repeating: false, count: 2 * missed + 1) + [true])
        }
    }
}

@Suite("What the kernel tells of a process")
struct ProcessStatusTests {
    private func line(name: String, state: String, user: String = "12", system: String = "30") -> String {
        "4711 (\(name)) \(state) 1 4711 4710 0 -1 4194304 100 0 0 0 \(user) \(system) 0 0 20 5 3 0 815 1000 200"
    }

    @Test("state, time and session are read, whatever the name is")
    func fields() throws {
        for name in ["llama-server", "a b", "x) S 1 2 (y", ""] {
            let status = try #require(ProcessStatus(stat: line(name: name, state: "S")))
            #expect(status.ticks == 42 && status.session == 4710)
            #expect(!status.isStopped && !status.waitsForDisk)
        }
        #expect(try #require(ProcessStatus(stat: line(name: "a", state: "T"))).isStopped)
        #expect(try #require(ProcessStatus(stat: line(name: "a", state: "t"))).isStopped)
        #expect(try #require(ProcessStatus(stat: line(name: "a", state: "D"))).waitsForDisk)
    }

    @Test("what is no such line tells nothing")
    func nonsense() {
        #expect(ProcessStatus(stat: "") == nil)
        #expect(ProcessStatus(stat: "1 (a") == nil)
        #expect(ProcessStatus(stat: "1 (a) S 2 3") == nil)
        #expect(ProcessStatus(stat: line(name: "a", state: "S", user: "x")) == nil)
        #expect(ProcessStatus(stat: line(name: "a", state: "S", user: "\(Int.max)", system: "1")) == nil)
    }
}
