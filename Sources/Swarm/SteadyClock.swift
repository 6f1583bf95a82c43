/// The wall clock that this host goes by: the machine's, but for jumps. What expires, and what is stamped, must not do so
/// by a clock that somebody has just set wrong (RF-17).
///
/// A clock that jumps against the monotonic one is not followed until it has stood where it is for ``settling``; where
/// most hosts of the swarm agree on another time than this machine's, theirs is taken instead. Times are milliseconds
/// since 1970 and since any moment of the monotonic clock.
package struct SteadyClock: Sendable {
    /// More than this apart is a jump, not a clock that is being slewed.
    package static let jump: Int64 = 60_000
    /// A clock that was set keeps its new time for so long before it is believed.
    package static let settling: Int64 = 60_000
    /// After a jump was believed nothing is deleted for its age for so long: time to set the clock right.
    package static let doubt: Int64 = 3_600_000

    /// The clock that is gone by, minus the monotonic one.
    private var offset: Int64
    /// Where the machine's clock has jumped to, and when.
    private var candidate: (offset: Int64, since: Int64)?
    /// What the others' clocks say, minus the monotonic one.
    private var others: Int64?
    private var believedJump: Int64?

    package init(wall: Int64, at now: Int64) { offset = wall &- now }

    /// The time, when the machine's clock says `wall`.
    package mutating func time(wall: Int64, at now: Int64) -> Int64 {
        let own = wall &- now
        if let others, Self.isJump(from: others, to: own) {
            // This machine's is off, whatever it does.
            candidate = nil
            if Self.isJump(from: others, to: offset) { offset = others }
        } else if !Self.isJump(from: offset, to: own) {
            candidate = nil
            offset = own
        } else if others != nil {
            // It was wrong, and is as the others' now.
            candidate = nil
            offset = own
        } else if let candidate, !Self.isJump(from: candidate.offset, to: own) {
            if now &- candidate.since >= Self.settling {
                self.candidate = nil
                offset = own
                believedJump = now
            }
        } else {
            candidate = (own, now)
        }
        return now &+ offset
    }

    /// - Parameter times: what the clocks of the linked hosts say at this moment.
    package mutating func heard(_ times: [Int64], at now: Int64) {
        others = nil
        let sorted = times.sorted()
        guard !sorted.isEmpty else { return }
        let middle = sorted[sorted.count / 2]
        let agreeing = sorted.count { !Self.isJump(from: $0, to: middle) }
        // More than half of all, this host counted.
        guard agreeing * 2 > sorted.count + 1 else { return }
        others = middle &- now
    }

    /// Whether the machine's clock has jumped and it is not known yet which time is right.
    package func isDoubtful(at now: Int64) -> Bool {
        candidate != nil || believedJump.map { now &- $0 < Self.doubt } ?? false
    }

    private static func isJump(from one: Int64, to other: Int64) -> Bool {
        let (distance, overflow) = one.subtractingReportingOverflow(other)
        return overflow || distance.magnitude > UInt64(jump)
    }
}
