package import Core

/// The asker's side of one link for work: what is open, how much of each answer may still come, and whether the other
/// host is alive. A machine: shells give it messages and times, and do what it says.
///
/// A broken connection is told by the transport. A host that is frozen, or cut off without a word, is noticed here:
/// while something is open the other side is asked for a sign of life, and given up after ``Limits/workSilence``
/// without one. A tick that comes late says that this host was held up, and counts for as long as it should have.
package struct WorkLedger: Sendable {
    package enum Action: Hashable, Sendable {
        case send(WorkMessage)
        /// An event, and what its message weighed.
        case deliver(UInt64, GenerationEvent, bytes: Int)
        /// The request is over, with this.
        case finish(UInt64, WorkResult)
        /// The answer is over; its last event was delivered.
        case end(UInt64)
        case fail(UInt64, WorkFailure)
        /// Nothing more is heard of the other host.
        case silent
        /// The other host breaks the rules.
        case condemn(String)
    }

    private struct Entry {
        var isAnswer: Bool
        /// Delivered, and not taken by the reader.
        var unread = 0
        /// Taken, and not yet credited.
        var taken = 0
    }

    private var entries: [UInt64: Entry] = [:]
    private var last: UInt64 = 0
    private var silence = Duration.zero
    private var lastTick: Duration?
    /// Since when nothing is open.
    package private(set) var idleSince: Duration

    package init(at now: Duration) { idleSince = now }

    package var isIdle: Bool { entries.isEmpty }

    /// Nil where too much is open already.
    package mutating func asked(_ work: Work, of model: String, at now: Duration) -> (id: UInt64, actions: [Action])? {
        guard entries.count < Limits.workPerLink else { return nil }
        if entries.isEmpty {
            silence = .zero
            lastTick = now
        }
        last += 1
        entries[last] = Entry(isAnswer: work.isAnswer)
        return (last, [.send(.ask(last, model: model, work))])
    }

    /// `bytes` is the message's size.
    package mutating func received(_ message: WorkMessage, bytes: Int, at now: Duration) -> [Action] {
        silence = .zero
        switch message {
        case .event(let id, let event):
            guard var entry = entries[id] else { return [] }
            guard entry.isAnswer else { return [.condemn("it answered with what was not asked for")] }
            // The window, and the one event that may reach beyond it.
            guard entry.unread <= Limits.workWindowBytes else { return [.condemn("it sent more than it may")] }
            entry.unread += bytes
            entries[id] = entry
            if case .finished = event {
                remove(id, at: now)
                return [.deliver(id, event, bytes: bytes), .end(id)]
            }
            return [.deliver(id, event, bytes: bytes)]
        case .result(let id, let result):
            guard let entry = entries[id] else { return [] }
            guard !entry.isAnswer else { return [.condemn("it answered with what was not asked for")] }
            remove(id, at: now)
            return [.finish(id, result)]
        case .failed(let id, let failure):
            guard entries[id] != nil else { return [] }
            remove(id, at: now)
            return [.fail(id, failure)]
        case .ping: return [.send(.pong)]
        case .pong: return []
        case .ask, .cancel, .credit, .more: return [.condemn("it asks on a link that it did not open")]
        }
    }

    /// The reader has taken so many bytes.
    package mutating func consumed(_ id: UInt64, _ bytes: Int) -> [Action] {
        guard var entry = entries[id] else { return [] }
        entry.unread -= min(bytes, entry.unread)
        entry.taken += bytes
        // Seldom, and early enough that the writer need not wait.
        let credit = entry.taken
        if credit >= Limits.workWindowBytes / 4 { entry.taken = 0 }
        entries[id] = entry
        return entry.taken == 0 && credit > 0 ? [.send(.credit(id, bytes: credit))] : []
    }

    /// The other host still does what it was asked.
    package func isOpen(_ id: UInt64) -> Bool { entries[id] != nil }

    /// Nobody wants it any more.
    package mutating func abandoned(_ id: UInt64, at now: Duration) -> [Action] {
        guard entries[id] != nil else { return [] }
        remove(id, at: now)
        return [.send(.cancel(id))]
    }

    /// To be called every ``Limits/workPing`` while something is open.
    package mutating func ticked(at now: Duration) -> [Action] {
        guard !entries.isEmpty else { return [] }
        silence += min(now - (lastTick ?? now), Limits.workPing * 2)
        lastTick = now
        return silence > Limits.workSilence ? [.silent] : [.send(.ping)]
    }

    private mutating func remove(_ id: UInt64, at now: Duration) {
        entries[id] = nil
        if entries.isEmpty { idleSince = now }
    }
}
