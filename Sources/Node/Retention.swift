internal import Core

/// Which conversations go (`context.retention`, `context.max_bytes`). Nothing does where nothing is said.
package struct Retention: Hashable, Sendable {
    /// So long after its last turn a conversation is kept.
    package var age: Duration?
    /// What all conversations together may take in the store.
    package var maxBytes: Int?

    package init(age: Duration? = nil, maxBytes: Int? = nil) {
        self.age = age
        self.maxBytes = maxBytes
    }

    package var isOff: Bool { age == nil && maxBytes == nil }

    /// Looks are so far apart.
    var interval: Duration {
        let longest = maxBytes == nil ? Duration.seconds(60) : .seconds(5)
        return max(.seconds(1), min(longest, (age ?? .seconds(240)) / 4))
    }

    /// Of several hosts the one with the least id decides, and the others only where it does not: each rank waits so
    /// much longer.
    private var step: Duration { min(.seconds(60), (age ?? .seconds(240)) / 4) }

    /// Whoever has just said something may go on.
    static let inUse = Duration.seconds(15)

    /// Why a conversation goes.
    package enum Reason: String, Hashable, Sendable, CaseIterable {
        case retention
        case maxBytes = "max_bytes"
    }

    /// - Parameters:
    ///   - oldest: the conversations that were last used the longest ago, the oldest first.
    ///   - bytes: what all take; nil where that is not needed, being below the limit for certain.
    ///   - rank: how many living members have lesser ids.
    ///   - now: milliseconds since 1970.
    func due(
        _ oldest: [ConversationSize], bytes: Int?, rank: Int, now: UInt64
    ) -> [(stream: StreamID, reason: Reason)] {
        var due: [(stream: StreamID, reason: Reason)] = []
        var excess = 0
        if let bytes, let maxBytes { excess = bytes - maxBytes }
        // Others than the first decide by size only where it has let it grow.
        if let maxBytes, rank > 0 { excess -= maxBytes / 8 * min(rank, 8) }
        for one in oldest {
            let idle = Duration.milliseconds(Int64(clamping: now) - Int64(clamping: one.header.updated.milliseconds))
            if let age, idle > age + step * rank {
                due.append((one.header.stream, .retention))
            } else if excess > 0, idle > Self.inUse {
                due.append((one.header.stream, .maxBytes))
            } else {
                continue
            }
            excess -= one.bytes
        }
        return due
    }
}
