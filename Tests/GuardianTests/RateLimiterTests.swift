import Testing

@testable import Guardian

@Suite struct RateLimiterTests {
    @Test("a minute's worth passes at once, the next only as the bucket fills", arguments: [1, 7, 60, 100, 6_000])
    func bucket(_ rate: Int) throws {
        var limiter = RateLimiter<String>(limit: 16)
        let now = Duration.seconds(5)
        for _ in 0..<rate {
            let wait = limiter.wait("a", rate: rate, at: now)
            #expect(wait == nil)
        }
        let refused = limiter.wait("a", rate: rate, at: now)
        let wait = try #require(refused)
        #expect(wait > .zero && wait <= .seconds(60) / rate)
        // Refusals cost nothing, and after the wait one more passes.
        let early = limiter.wait("a", rate: rate, at: now + wait - .nanoseconds(1))
        let inTime = limiter.wait("a", rate: rate, at: now + wait)
        let again = limiter.wait("a", rate: rate, at: now + wait)
        #expect(early != nil && inTime == nil && again != nil)
    }

    @Test("over a long time no more pass than the rate, however they come")
    func longRun() {
        var limiter = RateLimiter<Int>(limit: 16)
        var passed = 0
        for millisecond in 0..<600_000 where millisecond % 7 == 0 {
            if limiter.wait(1, rate: 60, at: .milliseconds(millisecond)) == nil { passed += 1 }
        }
        // Ten minutes of 60, and the bucket that was full at first.
        #expect((600...660).contains(passed))
    }

    @Test("callers have buckets of their own")
    func apart() {
        var limiter = RateLimiter<String>(limit: 16)
        let waits = ["a", "b", "a", "b"].map { limiter.wait($0, rate: 1, at: .zero) }
        #expect(waits[0] == nil && waits[1] == nil && waits[2] != nil && waits[3] != nil)
    }

    @Test("it is bounded, and whoever has spent the most is remembered the longest")
    func bounds() {
        var limiter = RateLimiter<Int>(limit: 100)
        for _ in 0..<60 { _ = limiter.wait(-1, rate: 60, at: .zero) }
        for caller in 0..<10_000 {
            _ = limiter.wait(caller, rate: 60, at: .milliseconds(1))
            #expect(limiter.count <= 100)
        }
        let spent = limiter.wait(-1, rate: 60, at: .milliseconds(2))
        #expect(spent != nil)
        // What is full again is forgotten first.
        _ = limiter.wait(-2, rate: 60, at: .seconds(120))
        for caller in 0..<90 { _ = limiter.wait(caller, rate: 60, at: .seconds(120)) }
        #expect(limiter.count <= 100)
    }
}
