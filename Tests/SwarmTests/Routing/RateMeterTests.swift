import Core
import Testing

@testable import Swarm

@Suite struct RateMeterTests {
    @Test func `The pace is what was done in the time, without what was cached`() {
        var meter = RateMeter()
        meter.answered(
            TokenUsage(promptTokens: 1_000, completionTokens: 41, cachedTokens: 500), reading: .seconds(1),
            writing: .seconds(2))
        #expect(meter.read == 500 && meter.write == 20)
        meter.answered(
            TokenUsage(promptTokens: 1_000, completionTokens: 41), reading: .seconds(1), writing: .seconds(1))
        #expect(meter.read == 600 && meter.write == 24)
    }

    @Test func `What is too short to say anything says nothing`() {
        var meter = RateMeter()
        for usage in [
            TokenUsage(promptTokens: 3, completionTokens: 2),
            TokenUsage(promptTokens: .min, completionTokens: 0, cachedTokens: 1),
        ] { meter.answered(usage, reading: .seconds(1), writing: .seconds(1)) }
        meter.answered(TokenUsage(promptTokens: 100, completionTokens: 100), reading: .zero, writing: .zero)
        #expect(meter == RateMeter())
    }
}
