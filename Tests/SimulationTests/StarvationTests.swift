import Simulation
import Testing

@Suite struct StarvationTests {
    /// The whole comparison (I19) is `swarm-simulator --compare-swim`; here a bound that a few seeds keep.
    @Test("With half a processor a host takes others for dead ten times less often than with plain SWIM, at the least")
    func falseDeaths() {
        func deaths(isPlain: Bool) -> Int {
            (1...4 as ClosedRange<UInt64>).reduce(0) { sum, seed in
                var options = RunOptions(seed: seed)
                options.length = .seconds(40)
                options.hosts = 8
                options.faults = .starvation
                options.stall = .seconds(2)
                options.isPlainSWIM = isPlain
                return sum + World.run(options).falseDeaths
            }
        }
        let (plain, guarded) = (deaths(isPlain: true), deaths(isPlain: false))
        #expect(plain >= 10)
        #expect(guarded * 10 <= plain, "\(guarded) with Lifeguard, \(plain) without")
    }
}
