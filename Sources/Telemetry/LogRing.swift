package import Core
import Synchronization

/// The latest events of the log, in memory: what `GET /v1/logs` shows. Bounded; the oldest go.
package final class LogRing: Sendable {
    /// Events after a cursor.
    package struct Page: Sendable {
        /// Each with its `cursor`, the oldest first.
        package var events: [JSON]
        /// Where to go on.
        package var next: Int64
        /// Some that followed the cursor have gone already.
        package var hasLost: Bool
    }

    private struct Entry {
        var cursor: Int64
        /// Encoded: takes a fraction of the room.
        var line: [UInt8]
    }

    private struct State {
        var entries: [Entry] = []
        var bytes = 0
        /// Of the last one that went.
        var gone: Int64 = 0
        var last: Int64 = 0
    }

    private let state = Mutex(State())
    private let countLimit: Int
    private let byteLimit: Int

    package init(countLimit: Int = 2_000, byteLimit: Int = 1024 * 1024) {
        self.countLimit = countLimit
        self.byteLimit = byteLimit
    }

    /// A cursor is the event's time in microseconds, made unique: it still means something after a new start.
    func add(_ line: LogLine) {
        let bytes = line.json
        state.withLock { state in
            state.last = max(state.last + 1, line.time.milliseconds.multipliedReportingOverflow(by: 1_000).partialValue)
            state.entries.append(Entry(cursor: state.last, line: bytes))
            state.bytes += bytes.count
            guard state.entries.count > countLimit || state.bytes > byteLimit else { return }
            // A quarter at once: the rest is moved less often.
            var count = 0
            while count < state.entries.count - 1,
                state.entries.count - count > countLimit * 3 / 4 || state.bytes > byteLimit * 3 / 4
            {
                state.bytes -= state.entries[count].line.count
                state.gone = state.entries[count].cursor
                count += 1
            }
            state.entries.removeFirst(count)
        }
    }

    /// The first `limit` events after `cursor`; without one the last `limit` of all.
    package func page(after cursor: Int64?, limit: Int) -> Page {
        let (found, gone) = state.withLock { state in
            guard let cursor else { return (state.entries.suffix(limit), state.gone) }
            let start = state.entries.firstIndex { $0.cursor > cursor } ?? state.entries.endIndex
            return (state.entries[start...].prefix(limit), state.gone)
        }
        let events = found.compactMap { entry -> JSON? in
            // What was encoded here can be read here.
            guard let members = try? JSON.parse(entry.line).object?.members else { return nil }
            var event = JSON.Object()
            event["cursor"] = .integer(entry.cursor)
            for (key, value) in members { event[key] = value }
            return .object(event)
        }
        return Page(
            events: events, next: found.last?.cursor ?? max(cursor ?? 0, 0),
            hasLost: cursor.map { $0 > 0 && $0 < gone } ?? false)
    }
}
