import Core
import Swarm

/// The conversations in use, so that a turn need not read its history again. Bounded; the longest unused go first.
struct ConversationCache {
    private struct Entry {
        var state: ConversationState
        var lastUse: UInt64
    }

    private static let byteLimit = 32 * 1024 * 1024
    private static let countLimit = 1_024

    private var entries: [StreamID: Entry] = [:]
    private var bytes = 0
    private var uses: UInt64 = 0

    subscript(stream: StreamID) -> ConversationState? {
        mutating get {
            uses &+= 1
            entries[stream]?.lastUse = uses
            return entries[stream]?.state
        }
        set {
            uses &+= 1
            bytes -= entries[stream]?.state.bytes ?? 0
            entries[stream] = newValue.map { Entry(state: $0, lastUse: uses) }
            bytes += newValue?.bytes ?? 0
            if bytes > Self.byteLimit || entries.count > Self.countLimit { shrink() }
        }
    }

    /// Shows written operations in the conversation if it is here. `isWhole`: the operations are all that it has.
    mutating func apply(_ operations: [Operation], to stream: StreamID, isWhole: Bool) throws(RuntimeError) {
        guard var entry = entries.removeValue(forKey: stream) ?? (isWhole ? Entry(state: ConversationState(), lastUse: 0) : nil)
        else { return }
        bytes -= entry.state.bytes
        try entry.state.apply(operations)
        self[stream] = entry.state
    }

    /// Down to three quarters, so that it does not happen at every turn.
    private mutating func shrink() {
        for (stream, entry) in entries.sorted(by: { $0.value.lastUse < $1.value.lastUse }) {
            guard bytes > Self.byteLimit / 4 * 3 || entries.count > Self.countLimit / 4 * 3 else { return }
            bytes -= entry.state.bytes
            entries[stream] = nil
        }
    }
}
