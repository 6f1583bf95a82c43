import Core
import Testing

@testable import Swarm

@Suite struct HostLoadTests {
    @Test func `What is written is read`() throws {
        let load = HostLoad(
            processor: 1, freeMemory: 0, isDraining: true, weight: 7,
            models: [
                ModelLoad(name: "m", waiting: 3, running: 2, slots: 4, readRate: 512.5, writeRate: 20),
                ModelLoad(name: "größer"),
            ])
        #expect(try HostLoad.decode(load.encoded) == load)
    }

    @Test func `Another version is passed over, rubbish is refused, and none of it traps`() throws {
        #expect(try HostLoad.decode([2, 9, 9]) == nil)
        var generator = SplitMix64(seed: 7)
        var refused = 0
        let whole = HostLoad(models: [ModelLoad(name: "model", waiting: 3, running: 2, slots: 4, readRate: 1)]).encoded
        for _ in 0..<20_000 {
            var bytes = whole
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                bytes[Int.random(in: 1..<bytes.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
            }
            bytes.removeLast(Int.random(in: 0..<bytes.count - 1, using: &generator))
            do {
                for model in try HostLoad.decode(bytes)?.models ?? [] { #expect(model.slots >= 1) }
            } catch {
                refused += 1
            }
        }
        #expect(refused > 10_000)
    }
}

@Suite struct HashRingTests {
    @Test func `A host that comes moves about its share, and only to itself`() {
        let before = HashRing((1...9).map(RouterTests.node))
        let after = HashRing((1...10).map(RouterTests.node))
        var moved = 0
        for key in 0..<10_000 {
            let key = HashRing.key(of: "key \(key)")
            let (old, new) = (before.owners(of: key, count: 1), after.owners(of: key, count: 1))
            guard old != new else { continue }
            moved += 1
            #expect(new == [RouterTests.node(10)])
        }
        #expect((600...1_500).contains(moved))
    }

    @Test func `Successors are others, and no more than there are`() {
        let ring = HashRing((1...3).map(RouterTests.node))
        for key in 0..<100 {
            let owners = ring.owners(of: HashRing.key(of: "\(key)"), count: 4)
            #expect(owners.count == 3 && Set(owners).count == 3)
        }
        #expect(HashRing([]).owners(of: 1, count: 3).isEmpty)
    }
}

@Suite struct CircuitBreakerTests {
    @Test func `Three failures in a row open it, one trial decides, and it comes back slowly`() {
        var breaker = CircuitBreaker()
        for _ in 0..<2 { breaker.failed(at: .zero) }
        breaker.succeeded(at: .zero)
        for _ in 0..<2 { breaker.failed(at: .zero) }
        #expect(breaker.admits(at: .zero))
        breaker.failed(at: .zero)
        #expect(!breaker.admits(at: .milliseconds(999)) && breaker.admits(at: .seconds(1)))
        breaker.began(at: .seconds(1))
        #expect(!breaker.admits(at: .seconds(1)))
        // The trial fails: twice the pause.
        breaker.failed(at: .seconds(1))
        #expect(!breaker.admits(at: .milliseconds(2_999)) && breaker.admits(at: .seconds(3)))
        breaker.began(at: .seconds(3))
        breaker.succeeded(at: .seconds(3))
        #expect(breaker.state == .closed && breaker.slowStart(at: .seconds(3)) == 2)
        #expect(breaker.slowStart(at: .seconds(8)) == 1.5 && breaker.slowStart(at: .seconds(13)) == 1)
    }

    @Test func `A trial that nobody hears of again does not shut it for ever`() {
        var breaker = CircuitBreaker()
        for _ in 0..<3 { breaker.failed(at: .zero) }
        breaker.began(at: .seconds(1))
        #expect(!breaker.admits(at: .seconds(60)) && breaker.admits(at: .seconds(61)))
        breaker.ended(at: .seconds(30))
        #expect(breaker.admits(at: .seconds(30)))
    }

    @Test func `The pause has an end`() {
        var breaker = CircuitBreaker()
        for _ in 0..<3 { breaker.failed(at: .zero) }
        for _ in 0..<20 { breaker.failed(at: .zero) }
        #expect(breaker.admits(at: .seconds(60)))
    }
}

@Suite struct PromptPrefixTests {
    private let cost = TokenCost(perByte: 1, perMessage: 0, fixed: 0, isExact: true)

    @Test func `The longest beginning in common is found`() {
        let history = [Message(.system, "be brief"), Message(.user, "one"), Message(.assistant, "1")]
        var memory = PrefixMemory()
        memory.note(PromptPrefix(history, cost: cost))
        #expect(memory.tokens(of: PromptPrefix(history + [Message(.user, "two")], cost: cost)) == 12)
        #expect(memory.tokens(of: PromptPrefix([history[0], Message(.user, "another")], cost: cost)) == 8)
        #expect(memory.tokens(of: PromptPrefix([Message(.user, "one")], cost: cost)) == 0)
    }

    @Test func `However much of it was read, so much is found`() {
        let history = (0..<33).map { Message($0 % 2 == 0 ? .user : .assistant, "message \($0)") }
        let whole = PromptPrefix(history, cost: cost)
        for read in 0...history.count {
            var memory = PrefixMemory()
            memory.note(PromptPrefix(Array(history.prefix(read)), cost: cost))
            #expect(memory.tokens(of: whole) == (read == 0 ? 0 : whole.beginnings[read - 1].tokens))
        }
    }

    @Test func `Whatever is forgotten, what is left of a prompt begins at its beginning`() {
        var random = Seeded(9)
        var memory = PrefixMemory()
        let histories = (0..<3_000).map { index in
            (0..<1 + random.below(9)).map { Message(.user, $0 == 0 ? "common \(index % 7)" : "\(index), \($0)") }
        }
        for _ in 0..<6_000 { memory.note(PromptPrefix(random.pick(histories) ?? [], cost: cost)) }
        for history in histories {
            let prefix = PromptPrefix(history, cost: cost)
            let known = prefix.beginnings.map { memory.remembers($0) }
            #expect(known == known.sorted { $0 && !$1 })
            let longest = known.lastIndex(of: true).map { prefix.beginnings[$0].tokens } ?? 0
            #expect(memory.tokens(of: prefix) == longest)
        }
    }

    @Test func `Where a text ends is part of it, and so is who said it`() {
        let hashes = [
            [Message(.user, "ab"), Message(.user, "c")], [Message(.user, "a"), Message(.user, "bc")],
            [Message(.assistant, "a"), Message(.user, "bc")],
        ].map { PromptPrefix($0, cost: cost).beginnings.last?.hash }
        #expect(Set(hashes).count == 3)
    }

    @Test func `The oldest are forgotten first, and memory is bounded`() {
        var memory = PrefixMemory()
        let first = PromptPrefix([Message(.user, "first")], cost: cost)
        memory.note(first)
        for number in 0..<PrefixMemory.beginnings {
            memory.note(PromptPrefix([Message(.user, "\(number)")], cost: cost))
        }
        #expect(memory.tokens(of: first) > 0)
        for number in 0..<3 * PrefixMemory.beginnings {
            memory.note(PromptPrefix([Message(.user, "x\(number)")], cost: cost))
        }
        #expect(memory.tokens(of: first) == 0)
    }
}
