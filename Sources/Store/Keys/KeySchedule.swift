import Core

/// When a store's data key has served its time. A pure decision.
struct KeySchedule: Sendable {
    /// When the key was made, in seconds since 1970.
    var made: UInt64
    /// Records that it has sealed.
    var records: UInt64
    /// Contents that were deleted since it was made: with it gone, no older copy of them opens.
    var erasures: UInt64
    /// Operations in the store, which all have to be sealed anew.
    var operations: UInt64

    /// swarm.md §12; and after a deletion as soon as the work allows: a minute for each two thousand operations, so that
    /// where something is deleted all the time no more than that is sealed anew in a minute, and within a day in any case.
    func isDue(at seconds: UInt64) -> Bool {
        // A clock that was set back says nothing.
        let age = seconds > made ? seconds - made : 0
        if age >= Limits.secondsPerKey || records >= Limits.recordsPerKey { return true }
        guard erasures > 0 else { return false }
        let wait = operations / Limits.rewrittenOperationsPerMinute * 60
        return age >= min(max(wait, 60), Limits.secondsPerErasingKey)
    }
}
