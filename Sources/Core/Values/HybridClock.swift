/// A hybrid logical timestamp: 48 bits of milliseconds since 1970, then a 16-bit counter (swarm.md §2).
/// It breaks ties between concurrent operations; causality comes from dependencies and sequences, never from here.
package struct HybridTimestamp: Hashable, Comparable, Sendable {
    package let rawValue: UInt64

    package init(rawValue: UInt64) { self.rawValue = rawValue }
    package init(milliseconds: UInt64, counter: UInt16 = 0) {
        rawValue = (milliseconds & 0xFFFF_FFFF_FFFF) << 16 | UInt64(counter)
    }

    package var milliseconds: UInt64 { rawValue >> 16 }
    /// Whole seconds since 1970, as OpenAI's `created` wants them.
    package var seconds: Int64 { Int64(milliseconds / 1000) }
    package static func < (left: HybridTimestamp, right: HybridTimestamp) -> Bool { left.rawValue < right.rawValue }
}

/// Issues timestamps that never go back, whatever the wall clock does.
package struct HybridClock: Sendable {
    /// How far ahead of our wall clock a peer's timestamp may pull us.
    package static let maximumLeadMilliseconds: UInt64 = 60_000

    package private(set) var latest: HybridTimestamp

    package init(latest: HybridTimestamp = HybridTimestamp(rawValue: 0)) { self.latest = latest }

    /// The next timestamp; `milliseconds` is the wall clock.
    package mutating func tick(milliseconds: UInt64) -> HybridTimestamp {
        let wall = HybridTimestamp(milliseconds: milliseconds)
        // At the very end of the range (damaged or hostile data) it stands still: going back would be worse.
        let (next, overflow) = latest.rawValue.addingReportingOverflow(1)
        latest = wall > latest ? wall : HybridTimestamp(rawValue: overflow ? latest.rawValue : next)
        return latest
    }

    /// Adopts a peer's timestamp unless it is too far ahead. Returns whether it was adopted.
    @discardableResult
    package mutating func observe(_ remote: HybridTimestamp, milliseconds: UInt64) -> Bool {
        guard remote.milliseconds <= milliseconds &+ Self.maximumLeadMilliseconds else { return false }
        if remote > latest { latest = remote }
        return true
    }
}
