import Core
import Testing

@testable import BuiltinModel

@Suite("Sharing the model")
struct SchedulerTests {
    @Test(
        "A prompt that goes on from an earlier one gives the same bytes as one read anew",
        arguments: 1...6 as ClosedRange<UInt64>)
    func prefixReuse(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        let warm = try TestModel.scheduler(slots: 2, seed: seed)
        var dialogues: [[Message]] = [[], []]
        var cached = 0
        for turn in 0..<6 {
            let index = Int.random(in: 0...1, using: &random)
            dialogues[index].append(
                Message(.user, String("question \(turn) żółw".prefix(Int.random(in: 1...15, using: &random)))))
            let sampling = Sampling(temperature: turn % 2 == 0 ? 0 : 1, seed: seed)
            let order = warm.order("\(turn)", dialogues[index], maximumTokens: 5, sampling: sampling)
            guard order.prompt.count < 150 else { break }
            let reused = warm.answer(order)
            let fresh = try TestModel.scheduler(slots: 1, seed: seed).answer(order)
            #expect(reused.text == fresh.text, "seed \(seed), turn \(turn)")
            #expect(reused.ending == fresh.ending)
            #expect(reused.usage?.completionTokens == fresh.usage?.completionTokens)
            #expect(fresh.usage?.cachedTokens == 0)
            cached += reused.usage?.cachedTokens ?? 0
            dialogues[index].append(Message(.assistant, reused.text))
        }
        #expect(cached > 0, "nothing was ever reused")
    }

    @Test("The slot that holds the longest start of a prompt is used, and another dialogue's is left alone")
    func slotChoice() throws {
        let scheduler = try TestModel.scheduler(slots: 3)
        let first = [Message(.user, "a long first message of one dialogue")]
        let second = [Message(.user, "and something else in the other one")]
        _ = scheduler.answer(scheduler.order("1", first))
        _ = scheduler.answer(scheduler.order("2", second))
        #expect(scheduler.slots.map { $0.tokens.isEmpty } == [false, false, true])
        let again = scheduler.answer(scheduler.order("3", first))
        #expect(again.usage?.cachedTokens == again.usage.map { $0.promptTokens - 1 })
        #expect(scheduler.slots[2].tokens.isEmpty)
    }

    @Test("A start that a busy slot holds is copied")
    func copiedPrefix() throws {
        let scheduler = try TestModel.scheduler(slots: 2)
        let shared = Message(.system, "the same long instructions for everybody")
        scheduler.submit(scheduler.order("1", [shared, Message(.user, "one")], maximumTokens: 30))
        for _ in 0..<12 { _ = scheduler.advance(at: .zero) }
        let order = scheduler.order("2", [shared, Message(.user, "two")], maximumTokens: 5)
        scheduler.submit(order)
        #expect(scheduler.slots[1].work?.cached ?? 0 > 40)
        let fresh = try TestModel.scheduler(slots: 1).answer(order)
        var text = ""
        while case .now = scheduler.wake(at: .zero) {
            for case .text("2", let piece) in scheduler.advance(at: .zero) { text += piece }
        }
        #expect(text == fresh.text)
    }

    @Test("Answers take turns, one token each, and a long prompt holds up nobody")
    func fairness() throws {
        let scheduler = try TestModel.scheduler(slots: 3, context: 1_000)
        for id in ["a", "b"] {
            scheduler.submit(scheduler.order(id, [Message(.user, id)], maximumTokens: 60))
        }
        for _ in 0..<6 { _ = scheduler.advance(at: .zero) }
        scheduler.submit(
            scheduler.order("long", [Message(.user, String(repeating: "x", count: 400))], maximumTokens: 5))
        let before = scheduler.slots.map { $0.work?.generated ?? 0 }
        for _ in 0..<30 { _ = scheduler.advance(at: .zero) }
        #expect(scheduler.slots[2].tokens.count == 10 * ForwardPass.pieceTokens)
        for index in 0...1 { #expect((scheduler.slots[index].work?.generated ?? 0) == before[index] + 10) }
    }

    @Test("More answers than slots wait their turn, in their order")
    func waiting() throws {
        let scheduler = try TestModel.scheduler(slots: 1)
        for id in ["a", "b", "c"] { scheduler.submit(scheduler.order(id, [Message(.user, "x")], maximumTokens: 3)) }
        #expect(scheduler.waitingCount == 2)
        var ended: [String] = []
        while case .now = scheduler.wake(at: .zero) {
            for case .done(let id, _, _) in scheduler.advance(at: .zero) { ended.append(id) }
        }
        #expect(ended == ["a", "b", "c"])
        #expect(scheduler.wake(at: .zero) == .never)
    }

    @Test("A cancelled answer ends before its next token: while written, while read, while waiting")
    func cancellation() throws {
        let scheduler = try TestModel.scheduler(slots: 2)
        scheduler.submit(scheduler.order("written", [Message(.user, "x")], maximumTokens: 50))
        for _ in 0..<4 { _ = scheduler.advance(at: .zero) }
        scheduler.submit(scheduler.order("read", [Message(.user, String(repeating: "y", count: 100))]))
        scheduler.submit(scheduler.order("waiting", [Message(.user, "z")]))
        for (id, tokens) in [("waiting", 0), ("written", 4), ("read", 0)] {
            guard case .done(id, .cancelled, let usage)? = scheduler.cancel(id).last else {
                Issue.record("\(id) was not cancelled")
                continue
            }
            #expect(usage.completionTokens == tokens, "\(id)")
            #expect(!scheduler.knows(id))
        }
        #expect(scheduler.cancel("written").isEmpty)
        #expect(scheduler.wake(at: .zero) == .never)
        #expect(scheduler.advance(at: .zero).isEmpty)
    }

    @Test("At a pace, tokens come at their times and nothing is due in between")
    func pace() throws {
        let scheduler = try TestModel.scheduler(slots: 1, pace: 20)
        scheduler.submit(scheduler.order("a", [Message(.user, "x")], maximumTokens: 6))
        var now = Duration.seconds(1)
        var times: [Duration] = []
        while true {
            let before = scheduler.slots[0].work?.generated ?? 0
            let events = scheduler.advance(at: now)
            if (scheduler.slots[0].work?.generated ?? 0) > before || !events.isEmpty { times.append(now - .seconds(1)) }
            switch scheduler.wake(at: now) {
            case .now: continue
            case .at(let due):
                #expect(scheduler.advance(at: due - .nanoseconds(1)).isEmpty)
                now = due
                continue
            case .never: break
            }
            break
        }
        #expect(times == (0..<6).map { .milliseconds(50 * $0) })
    }

    @Test("An answer ends with length at its limit and at the context's end")
    func length() throws {
        let scheduler = try TestModel.scheduler(slots: 1, context: 40)
        let limited = scheduler.answer(scheduler.order("a", [Message(.user, "x")], maximumTokens: 3))
        #expect(limited.ending == .length)
        #expect(limited.usage?.completionTokens == 3)
        let order = scheduler.order("b", [Message(.user, "filling up")], maximumTokens: .max)
        let full = scheduler.answer(order)
        #expect(full.ending == .length)
        #expect(full.usage?.completionTokens == 40 - order.prompt.count)
    }

    @Test("A stop string ends the answer with stop and is not in it")
    func stop() throws {
        let free = try TestModel.scheduler().answer(
            try TestModel.scheduler().order("a", [Message(.user, "x")], maximumTokens: 30))
        let characters = Array(free.text)
        try #require(characters.count > 12)
        let stop = String(characters[6...8])
        let scheduler = try TestModel.scheduler()
        let stopped = scheduler.answer(
            scheduler.order("a", [Message(.user, "x")], maximumTokens: 30, stop: ["never", stop]))
        #expect(stopped.ending == .stop)
        let cut = try #require(free.text.firstRange(of: stop))
        #expect(stopped.text == String(free.text[..<cut.lowerBound]))
    }

    @Test("Idle slots keep no more than their bound")
    func retained() throws {
        let scheduler = try TestModel.scheduler(slots: 4, context: 1 << 17)
        let perToken = KeyValueCache.bytesPerToken(scheduler.model.shape)
        #expect(perToken == 2 * 2 * 16 * 4)
        // Filling the bound with real tokens takes too long: fill the caches instead.
        for slot in scheduler.slots { slot.cache.advance(by: 30_000) }
        #expect(scheduler.slots.reduce(0) { $0 + $1.cache.byteCount } > Scheduler.retainedBytes)
        _ = scheduler.answer(scheduler.order("a", [Message(.user, "x")], maximumTokens: 1))
        #expect(scheduler.slots.reduce(0) { $0 + $1.cache.byteCount } <= Scheduler.retainedBytes)
    }
}
