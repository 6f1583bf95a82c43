import Core

/// The number of an operation's row, and of a seal's: `origin's index << 40 | sequence`.
enum RowNumber {
    /// `dot` must be one that the store takes: its sequence has at most 40 bits.
    static func of(_ dot: Dot, index: Int64) -> Int64 {
        index << Limits.sequenceBits | Int64(clamping: dot.sequence)
    }

    static func sequence(_ number: Int64) -> UInt64 { UInt64(number & (1 << Limits.sequenceBits - 1)) }
}
