import Swarm
import Testing

@Suite struct GatheringTests {
    @Test("The first whole answer counts, and the others are stopped")
    func firstSuccess() {
        var parts = Gathering(.firstSuccess, parts: 3)
        #expect(parts.failed(0) == [])
        #expect(parts.completed(2, text: "yes") == [.cancel(1), .finish(.answer(part: 2))])
        #expect(parts.states == [.failed, .cancelled, .completed])
        #expect(parts.completed(1, text: "late") == [])
    }

    @Test("A vote is over as soon as more than half say the same, whatever case and space")
    func majority() {
        var parts = Gathering(.vote, parts: 3)
        #expect(parts.completed(0, text: "No") == [])
        #expect(parts.completed(1, text: "It  is\nBlue ") == [])
        #expect(parts.completed(2, text: "it is blue") == [.finish(.answer(part: 1))])
        #expect(parts.votes == [1, 2, 2])
        var early = Gathering(.vote, parts: 3)
        _ = early.completed(2, text: "a")
        #expect(early.completed(0, text: "A") == [.cancel(1), .finish(.answer(part: 0))])
    }

    @Test("Of a tie the first by the route counts, and parts that fail do not vote")
    func tie() {
        var parts = Gathering(.vote, parts: 4)
        _ = parts.completed(3, text: "b")
        _ = parts.completed(1, text: "a")
        _ = parts.failed(0)
        #expect(parts.failed(2) == [.finish(.answer(part: 1))])
    }

    @Test("A merge waits for all, and takes those that came")
    func merge() {
        var parts = Gathering(.merge, parts: 3)
        #expect(parts.completed(2, text: "c") == [])
        #expect(parts.failed(1) == [])
        #expect(parts.completed(0, text: "a") == [.finish(.joined(parts: [0, 2]))])
    }

    @Test("When time is over what there is counts", arguments: Gathering.Mode.allCases)
    func expired(mode: Gathering.Mode) {
        var parts = Gathering(mode, parts: 2)
        #expect(parts.expired() == [.cancel(0), .cancel(1), .finish(.failed)])
        #expect(parts.expired() == [])
    }

    @Test("No part, no answer", arguments: Gathering.Mode.allCases)
    func none(mode: Gathering.Mode) {
        var parts = Gathering(mode, parts: 1)
        #expect(parts.failed(7) == [])
        #expect(parts.failed(0) == [.finish(.failed)])
    }

    /// Whatever happens in whatever order, there is one outcome, and nothing runs after it.
    @Test("One outcome, and every part is over", arguments: 0..<200)
    func property(seed: UInt64) {
        var generator = SplitMix64(seed: seed)
        let mode = Gathering.Mode.allCases.randomElement(using: &generator) ?? .vote
        let count = Int.random(in: 1...6, using: &generator)
        var parts = Gathering(mode, parts: count)
        var outcomes = 0
        for part in (0..<count).shuffled(using: &generator) + [0] {
            let effects =
                Bool.random(using: &generator)
                ? parts.failed(part)
                : parts.completed(part, text: ["a", "b", "c"].randomElement(using: &generator) ?? "a")
            outcomes += effects.count { if case .finish = $0 { true } else { false } }
        }
        #expect(outcomes == 1)
        #expect(!parts.states.contains(.running))
    }
}
