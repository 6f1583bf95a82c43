import Testing

@testable import Swarm

@Suite struct SteadyClockTests {
    private static let year: Int64 = 365 * 86_400_000
    private static let start: Int64 = 1_800_000_000_000

    @Test func `A clock that is slewed is followed`() {
        var clock = SteadyClock(wall: Self.start, at: 0)
        for second in 1...600 {
            let wall = Self.start + Int64(second) * 1_100
            #expect(clock.time(wall: wall, at: Int64(second) * 1_000) == wall)
        }
        #expect(!clock.isDoubtful(at: 600_000))
    }

    @Test(arguments: [year, -year])
    func `A jump is believed once it has stood for a minute, and doubted for an hour`(jump: Int64) {
        var clock = SteadyClock(wall: Self.start, at: 0)
        #expect(clock.time(wall: Self.start + 1_000 + jump, at: 1_000) == Self.start + 1_000)
        #expect(clock.isDoubtful(at: 1_000))
        #expect(clock.time(wall: Self.start + 60_999 + jump, at: 60_999) == Self.start + 60_999)
        #expect(clock.time(wall: Self.start + 61_000 + jump, at: 61_000) == Self.start + 61_000 + jump)
        #expect(clock.isDoubtful(at: 61_000) && !clock.isDoubtful(at: 61_000 + SteadyClock.doubt))
    }

    @Test func `A jump that is taken back has never been`() {
        var clock = SteadyClock(wall: Self.start, at: 0)
        _ = clock.time(wall: Self.start + Self.year, at: 1_000)
        #expect(clock.time(wall: Self.start + 30_000, at: 30_000) == Self.start + 30_000)
        #expect(!clock.isDoubtful(at: 30_000))
    }

    @Test func `A clock that strobes is not followed`() {
        var clock = SteadyClock(wall: Self.start, at: 0)
        for second in 1...600 {
            let now = Int64(second) * 1_000
            let shift = second.isMultiple(of: 2) ? Self.year : -Self.year
            #expect(clock.time(wall: Self.start + now + shift, at: now) == Self.start + now)
        }
    }

    @Test func `Where most others agree their time is taken, also from the start`() {
        var clock = SteadyClock(wall: Self.start + Self.year, at: 0)
        clock.heard([Self.start + 1_000, Self.start + 1_200], at: 1_000)
        #expect(clock.time(wall: Self.start + Self.year + 2_000, at: 2_000) == Self.start + 2_200)
        // However long it stands there.
        let later: Int64 = 7_200_000
        clock.heard([Self.start + later, Self.start + later], at: later)
        #expect(abs(clock.time(wall: Self.start + Self.year + later, at: later) - Self.start - later) <= 1_000)
        // Set right, it is followed at once.
        #expect(clock.time(wall: Self.start + later + 5_000, at: later + 1_000) == Self.start + later + 5_000)
    }

    @Test func `One other, or two that disagree, prove nothing`() {
        var clock = SteadyClock(wall: Self.start, at: 0)
        for times in [[Self.start + Self.year], [Self.start + Self.year, Self.start - Self.year], []] {
            clock.heard(times, at: 0)
            #expect(clock.time(wall: Self.start, at: 0) == Self.start)
        }
        // One of three is wrong: the other two are more than half of all four.
        clock.heard([Self.start, Self.start + 100, Self.start - Self.year], at: 0)
        #expect(clock.time(wall: Self.start + Self.year, at: 0) == Self.start)
    }

    @Test func `No time makes it trap`() {
        for extreme in [Int64.min, -1, 0, .max] {
            var clock = SteadyClock(wall: extreme, at: 0)
            clock.heard([.max, .min, .max], at: .min)
            for wall in [Int64.min, 0, .max] { _ = clock.time(wall: wall, at: .max) }
            _ = clock.isDoubtful(at: .min)
        }
    }
}
