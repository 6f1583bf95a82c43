package import Core

/// Tells of trouble before it is there: a disk that fills, memory that runs out, a peer that slows down, a clock that
/// goes wrong.
package struct HealthWatch: Hashable, Sendable {
    /// What was measured; nil where it could not be.
    package struct Sample: Hashable, Sendable {
        /// Bytes where the store lies.
        package var diskFree: UInt64?
        package var diskSize: UInt64?
        package var memoryFree: UInt64?
        package var memorySize: UInt64?
        /// Of linked peers.
        package var roundTrips: [NodeID: Duration]
        /// Peers' clocks minus ours.
        package var clockSkews: [NodeID: Duration]

        package init(
            diskFree: UInt64? = nil, diskSize: UInt64? = nil, memoryFree: UInt64? = nil, memorySize: UInt64? = nil,
            roundTrips: [NodeID: Duration] = [:], clockSkews: [NodeID: Duration] = [:]
        ) {
            self.diskFree = diskFree
            self.diskSize = diskSize
            self.memoryFree = memoryFree
            self.memorySize = memorySize
            self.roundTrips = roundTrips
            self.clockSkews = clockSkews
        }
    }

    package enum Warning: Hashable, Sendable {
        case diskLow(free: UInt64)
        case diskFilling(free: UInt64, within: Duration)
        case memoryLow(free: UInt64)
        case memoryFalling(free: UInt64, within: Duration)
        case slower(NodeID, from: Duration, to: Duration)
        case clockSkew(NodeID, Duration)
        /// More than one peer, all off in the same direction: it is this host's clock.
        case ownClock(Duration)
    }

    /// Between two samples.
    package static let interval = Duration.seconds(5)

    private static let leastDisk: UInt64 = 512 * 1024 * 1024
    private static let diskNotice = Duration.seconds(24 * 3_600)
    private static let memoryNotice = Duration.seconds(15 * 60)
    /// Beyond a minute hosts do not follow one another's clocks (swarm.md §2): told with some room before that.
    private static let skew = Duration.seconds(20)
    /// An idle link is measured twice a minute: one slow answer is no trend.
    private static let slowness = (factor: 3.0, least: Duration.milliseconds(30), samples: 18)

    private var disk = Trend()
    private var memory = Trend()
    private var roundTrips: [NodeID: Trend] = [:]
    private var latest = Sample()
    private var next: Duration?

    package init() {}

    /// Whether it is time for a sample.
    package func isDue(_ now: Duration) -> Bool { next.map { now >= $0 } ?? true }

    package mutating func observe(_ sample: Sample, at now: Duration) {
        next = now + Self.interval
        latest = sample
        if let free = sample.diskFree { disk.add(Double(free), at: now) }
        if let free = sample.memoryFree { memory.add(Double(free), at: now) }
        // Who has no link has no trend: it begins anew with the next one.
        roundTrips = roundTrips.filter { sample.roundTrips[$0.key] != nil }
        for (node, roundTrip) in sample.roundTrips {
            roundTrips[node, default: Trend()].add(roundTrip / .seconds(1), at: now)
        }
    }

    /// What should be told now, in a fixed order.
    package var warnings: [Warning] {
        var warnings: [Warning] = []
        if let free = latest.diskFree {
            if free < Self.leastDisk {
                warnings.append(.diskLow(free: free))
            } else if let left = disk.timeToZero, left < Self.diskNotice, isScarce(free, latest.diskSize) {
                warnings.append(.diskFilling(free: free, within: left))
            }
        }
        if let free = latest.memoryFree, let size = latest.memorySize {
            if free < size / 25 {
                warnings.append(.memoryLow(free: free))
            } else if let left = memory.timeToZero, left < Self.memoryNotice, isScarce(free, size) {
                warnings.append(.memoryFalling(free: free, within: left))
            }
        }
        return warnings + slower + clocks
    }

    /// Most is used: a large file that comes and goes on an empty disk is no news.
    private func isScarce(_ free: UInt64, _ size: UInt64?) -> Bool { size.map { free < $0 / 3 } ?? true }

    private var slower: [Warning] {
        roundTrips.sorted { $0.key < $1.key }.compactMap { node, trend in
            guard let (now, before) = trend.recent(Self.slowness.samples) else { return nil }
            let (from, to) = (Duration.seconds(before), Duration.seconds(now))
            return to > Self.slowness.least && now > before * Self.slowness.factor
                ? .slower(node, from: from, to: to) : nil
        }
    }

    private var clocks: [Warning] {
        let skews = latest.clockSkews.sorted { $0.key < $1.key }
        let ahead = skews.filter { $0.value > Self.skew }
        let behind = skews.filter { $0.value < .zero - Self.skew }
        if skews.count > 1, let first = skews.first, ahead.count == skews.count || behind.count == skews.count {
            return [.ownClock(.zero - first.value)]
        }
        return skews.compactMap { node, skew in
            skew > Self.skew || skew < .zero - Self.skew ? .clockSkew(node, skew) : nil
        }
    }
}
