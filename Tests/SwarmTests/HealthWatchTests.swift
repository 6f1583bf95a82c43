import Core
import Testing

@testable import Swarm

@Suite struct HealthWatchTests {
    private static let giga: UInt64 = 1 << 30
    private static func node(_ number: UInt64) -> NodeID { NodeID(Bytes16(high: 0, low: number)) }

    /// Forty samples, one every interval.
    private func watch(_ sample: (Int) -> HealthWatch.Sample) -> HealthWatch {
        var watch = HealthWatch()
        for number in 0..<40 {
            let now = HealthWatch.interval * number
            #expect(watch.isDue(now))
            watch.observe(sample(number), at: now)
            #expect(!watch.isDue(now + .seconds(1)))
        }
        return watch
    }

    @Test func `All in order is no warning`() {
        let watch = watch { _ in
            HealthWatch.Sample(
                diskFree: 50 * Self.giga, diskSize: 100 * Self.giga, memoryFree: 4 * Self.giga,
                memorySize: 8 * Self.giga, roundTrips: [Self.node(1): .milliseconds(1)],
                clockSkews: [Self.node(1): .seconds(2)])
        }
        #expect(watch.warnings.isEmpty)
    }

    @Test func `A disk that fills is told before it is full`() throws {
        let watch = watch { number in
            HealthWatch.Sample(diskFree: 20 * Self.giga - UInt64(number) << 24, diskSize: 100 * Self.giga)
        }
        let warning = try #require(watch.warnings.first)
        guard case .diskFilling(_, let left) = warning else { return #expect(warning == .diskLow(free: 0)) }
        // 16 MiB in 5 s.
        #expect(left > .seconds(5_900) && left < .seconds(6_400))
        #expect(watch.warnings.count == 1)
    }

    @Test func `An empty disk on which a large file grows is no news`() {
        let watch = watch { number in
            HealthWatch.Sample(diskFree: 90 * Self.giga - UInt64(number) << 26, diskSize: 100 * Self.giga)
        }
        #expect(watch.warnings.isEmpty)
    }

    @Test func `Little room is told at once`() {
        var watch = HealthWatch()
        watch.observe(
            HealthWatch.Sample(
                diskFree: 100 << 20, diskSize: 1 << 40, memoryFree: 100 << 20, memorySize: 8 * Self.giga), at: .zero)
        #expect(watch.warnings == [.diskLow(free: 100 << 20), .memoryLow(free: 100 << 20)])
    }

    @Test func `Memory that runs out is told before`() throws {
        let watch = watch { number in
            HealthWatch.Sample(memoryFree: 2 * Self.giga - UInt64(number) << 25, memorySize: 8 * Self.giga)
        }
        guard case .memoryFalling = try #require(watch.warnings.first) else { return #expect(watch.warnings.isEmpty) }
    }

    @Test func `A peer that slows down is named, one that always was slow is not`() {
        let watch = watch { number in
            HealthWatch.Sample(roundTrips: [
                Self.node(1): .milliseconds(number < 22 ? 2 : 80), Self.node(2): .milliseconds(80),
            ])
        }
        #expect(watch.warnings.count == 1)
        guard case .slower(let node, let from, let to) = watch.warnings.first else { return }
        #expect(node == Self.node(1) && from < .milliseconds(3) && to > .milliseconds(79))
    }

    @Test func `One clock that is off is the peer's, all of them in one direction is ours`() {
        var watch = HealthWatch()
        watch.observe(
            HealthWatch.Sample(clockSkews: [Self.node(1): .seconds(-40), Self.node(2): .zero]), at: .zero)
        #expect(watch.warnings == [.clockSkew(Self.node(1), .seconds(-40))])
        watch.observe(
            HealthWatch.Sample(clockSkews: [Self.node(1): .seconds(-40), Self.node(2): .seconds(-41)]), at: .zero)
        #expect(watch.warnings == [.ownClock(.seconds(40))])
    }

    @Test func `A trend needs samples and a direction`() {
        var trend = Trend()
        for second in 0..<5 { trend.add(10 - Double(second), at: .seconds(second)) }
        #expect(trend.slope == nil && trend.timeToZero == nil)
        trend.add(5, at: .seconds(5))
        #expect(trend.slope == -1 && trend.timeToZero == .seconds(5))
        trend.add(.nan, at: .seconds(6))
        #expect(trend.last == 5)
    }
}
