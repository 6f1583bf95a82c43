import Core
import Testing

@Suite struct HybridClockTests {
    @Test("Timestamps rise whatever the wall clock and the peers do")
    func monotonic() {
        var random = Seeded(21)
        var clock = HybridClock()
        var wall: UInt64 = 1_700_000_000_000
        var last = clock.latest
        for _ in 0..<10_000 {
            wall = random.below(5) == 0 ? wall - UInt64(random.below(100_000)) : wall + UInt64(random.below(50))
            if random.below(3) == 0 {
                clock.observe(HybridTimestamp(milliseconds: wall + UInt64(random.below(200_000))), milliseconds: wall)
            }
            let next = clock.tick(milliseconds: wall)
            #expect(next > last)
            last = next
        }
    }

    @Test("A peer's timestamp is adopted within the bound and not beyond it")
    func observe() {
        var clock = HybridClock()
        let lead = HybridClock.maximumLeadMilliseconds
        let early = HybridTimestamp(milliseconds: 1_000 + lead)
        let late = HybridTimestamp(milliseconds: 1_001 + lead)
        let adoptedLate = clock.observe(late, milliseconds: 1_000)
        #expect(!adoptedLate)
        #expect(clock.latest == HybridTimestamp(rawValue: 0))
        let adoptedEarly = clock.observe(early, milliseconds: 1_000)
        #expect(adoptedEarly)
        let next = clock.tick(milliseconds: 1_000)
        #expect(next > early)
        clock.observe(HybridTimestamp(milliseconds: 1), milliseconds: 1_000)
        #expect(clock.latest == next)
    }

    @Test("A wall clock at the end of its range is bounded by none of our arithmetic")
    func extremes() {
        var clock = HybridClock()
        let adopted = clock.observe(HybridTimestamp(rawValue: .max), milliseconds: 1_000)
        #expect(!adopted)
        let first = clock.tick(milliseconds: .max)
        let second = clock.tick(milliseconds: .max)
        #expect(second > first)
    }

    @Test("A recovered timestamp at the very end does not start again from zero")
    func end() {
        var clock = HybridClock(latest: HybridTimestamp(rawValue: .max))
        let next = clock.tick(milliseconds: 1_000)
        #expect(next == HybridTimestamp(rawValue: .max))
    }

    @Test("Milliseconds and seconds are those that were put in")
    func parts() {
        let timestamp = HybridTimestamp(milliseconds: 1_700_000_000_123, counter: 9)
        #expect(timestamp.milliseconds == 1_700_000_000_123)
        #expect(timestamp.seconds == 1_700_000_000)
        #expect(timestamp < HybridTimestamp(milliseconds: 1_700_000_000_123, counter: 10))
        #expect(timestamp < HybridTimestamp(milliseconds: 1_700_000_000_124))
    }
}
