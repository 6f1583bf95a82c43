import Core
import Swarm

/// The conversations in use, so that a turn need not read its history again. Bounded; the longest unused go first.
struct ConversationCache {
    private struct Entry {
        var state: ConversationState
        /// Written since the conversation was last looked at: put in their order once, however many they are.
        var added: [Operation] = []
        var addedBytes = 0
        var lastUse: UInt64

        var bytes: Int { state.bytes + addedBytes }
    }

    private static let byteLimit = 32 * 1024 * 1024
    private static let countLimit = 1_024

    private var entries: [StreamID: Entry] = [:]
    private var bytes = 0
    private var uses: UInt64 = 0

    mutating func state(of stream: StreamID) -> ConversationState? {
        guard var entry = take(stream) else { return nil }
        if !entry.added.isEmpty {
            entry.state.apply(entry.added)
            entry.added = []
            entry.addedBytes = 0
        }
        put(entry, stream)
        return entry.state
    }

    /// `state` is all that there is of the conversation.
    mutating func keep(_ state: ConversationState, for stream: StreamID) {
        forget(stream)
        put(Entry(state: state, lastUse: 0), stream)
    }

    /// Adds what was written to the conversation if it is here.
    mutating func add(_ operations: [Operation], to stream: StreamID) {
        guard var entry = take(stream) else { return }
        entry.added += operations
        entry.addedBytes += operations.reduce(0) { $0 + $1.body.count + ConversationState.turnOverhead }
        put(entry, stream)
    }

    mutating func forget(_ stream: StreamID) { _ = take(stream) }

    private mutating func take(_ stream: StreamID) -> Entry? {
        guard let entry = entries.removeValue(forKey: stream) else { return nil }
        bytes -= entry.bytes
        return entry
    }

    private mutating func put(_ entry: Entry, _ stream: StreamID) {
        uses &+= 1
        var entry = entry
        entry.lastUse = uses
        bytes += entry.bytes
        entries[stream] = entry
        if bytes > Self.byteLimit || entries.count > Self.countLimit { shrink() }
    }

    /// Down to three quarters, so that it does not happen at every turn.
    private mutating func shrink() {
        for (stream, entry) in entries.sorted(by: { $0.value.lastUse < $1.value.lastUse }) {
            guard bytes > Self.byteLimit / 4 * 3 || entries.count > Self.countLimit / 4 * 3 else { return }
            bytes -= entry.bytes
            entries[stream] = nil
        }
    }
}
