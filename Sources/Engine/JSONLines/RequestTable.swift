import Core

/// The requests of one persistent child: which wait, which run, what happens to them when the child answers, hangs or
/// ends. A pure machine: times are arguments; the shell performs the actions in their order.
struct RequestTable: Sendable {
    typealias Instant = ContinuousClock.Instant

    enum Action: Sendable {
        /// Write the request to the child.
        case generate(RequestID)
        case cancel(RequestID)
        case deliver(RequestID, String)
        case finish(RequestID, reason: FinishReason, usage: TokenUsage)
        case fail(RequestID, RuntimeError)
        /// The child does not do as it is told.
        case condemn(reason: String)
    }

    private struct Entry {
        var hasText = false
        var hasRetried = false
        var bytes = 0
        var startedAt: Instant?
        var lastHeard: Instant?
        /// Told to end: its reader is gone or has been given an error. Its slot is free when the child says so.
        var endingSince: Instant?
        /// Since when more is unread than a reader may leave.
        var unreadSince: Instant?
    }

    private static let disobedience = "it went on with an answer that it was told to end"

    private let bounds: EngineBounds
    private var queue: AdmissionQueue
    private var entries: [RequestID: Entry] = [:]

    init(bounds: EngineBounds) {
        self.bounds = bounds
        queue = AdmissionQueue(slots: 0, maximumWaiting: bounds.waitingRequests)
    }

    var load: (waiting: Int, running: Int) { (queue.waiting.count, queue.running.count) }

    /// The one answer that is being written, where it is the only one: the child's output is its alone.
    var only: RequestID? { queue.running.count == 1 ? queue.running.first : nil }

    /// The child has written nothing for a beat and owes somebody something: an answer whose reader keeps up, or the end
    /// of one that it was told to end.
    func isAsked(at now: Instant) -> Bool {
        let running = queue.running.compactMap { entries[$0] }
        return running.contains { $0.unreadSince == nil }
            && running.allSatisfy { $0.lastHeard.map { now - $0 >= bounds.beat } ?? true }
    }

    mutating func requested(_ id: RequestID, at now: Instant) -> [Action] {
        switch queue.enter(id) {
        case .refused:
            return [
                .fail(
                    id,
                    RuntimeError(
                        .overloaded, "\(queue.waiting.count) requests wait for this model already; try again later",
                        retryAfter: .seconds(1)))
            ]
        case .waits:
            entries[id] = Entry()
            return []
        case .runs:
            entries[id] = Entry(startedAt: now, lastHeard: now)
            return [.generate(id)]
        }
    }

    /// The reader went away.
    mutating func abandoned(_ id: RequestID, at now: Instant) -> [Action] {
        guard entries[id] != nil else { return [] }
        if queue.running.contains(id) { return end(id, at: now) }
        queue.leave(id)
        entries[id] = nil
        return []
    }

    /// `unread` is what the reader has left so far, before this text.
    mutating func wrote(_ id: RequestID, _ text: String, unread: Int, at now: Instant) -> [Action] {
        guard queue.running.contains(id), var entry = entries[id] else { return [] }
        entry.lastHeard = now
        if let endingSince = entry.endingSince {
            entries[id] = entry
            // What was on its way when it was told to end is fine; more is not.
            guard now - endingSince > bounds.grace else { return [] }
            return [.condemn(reason: Self.disobedience)]
        }
        entry.hasText = entry.hasText || !text.isEmpty
        entry.bytes += text.utf8.count
        if unread > bounds.unreadBytes { entry.unreadSince = entry.unreadSince ?? now }
        entries[id] = entry
        guard entry.bytes <= bounds.outputBytes else {
            let error = RuntimeError(.engineFailed, "the answer grew past \(bounds.outputBytes) bytes and was stopped")
            return end(id, at: now) + [.fail(id, error)]
        }
        return text.isEmpty ? [] : [.deliver(id, text)]
    }

    mutating func finished(_ id: RequestID, _ finish: EngineFinish, at now: Instant) -> [Action] {
        guard queue.running.contains(id), let entry = entries[id] else { return [] }
        var actions: [Action] = []
        if entry.endingSince == nil {
            switch finish.reason {
            case .stop: actions = [.finish(id, reason: .stop, usage: finish.usage)]
            case .length: actions = [.finish(id, reason: .length, usage: finish.usage)]
            case .cancelled:
                actions = [.fail(id, RuntimeError(.engineFailed, "the engine gave the answer up without being asked"))]
            }
        }
        return actions + release(id, at: now)
    }

    mutating func failed(_ id: RequestID, _ error: RuntimeError, at now: Instant) -> [Action] {
        guard queue.running.contains(id), let entry = entries[id] else { return [] }
        return (entry.endingSince == nil ? [.fail(id, error)] : []) + release(id, at: now)
    }

    mutating func childReady(slots: Int, at now: Instant) -> [Action] {
        queue.slots = slots
        return advance(at: now)
    }

    /// The child has ended. Requests without any text so far are given one more try.
    mutating func childEnded(_ error: RuntimeError) -> [Action] {
        queue.slots = 0
        var actions: [Action] = []
        // From the latest to the first, so that the first stands at the head of the queue again.
        for id in queue.running.sorted(by: { $0.number > $1.number }) {
            guard let entry = entries[id] else { continue }
            if entry.endingSince == nil, !entry.hasText, !entry.hasRetried {
                entries[id] = Entry(hasRetried: true)
                queue.postpone(id)
                continue
            }
            if entry.endingSince == nil { actions.append(.fail(id, error)) }
            entries[id] = nil
            queue.leave(id)
        }
        return actions
    }

    /// There is no child, and none to be expected soon.
    mutating func refuseWaiting(_ error: RuntimeError) -> [Action] {
        let waiting = queue.waiting
        for id in waiting {
            queue.leave(id)
            entries[id] = nil
        }
        return waiting.map { .fail($0, error) }
    }

    /// To be called every ``EngineBounds/tick`` while requests run. `unread` tells what a reader has left.
    mutating func ticked(at now: Instant, unread: (RequestID) -> Int) -> [Action] {
        var actions: [Action] = []
        for id in queue.running.sorted(by: { $0.number < $1.number }) {
            guard let entry = entries[id], let startedAt = entry.startedAt, let lastHeard = entry.lastHeard else {
                continue
            }
            if let endingSince = entry.endingSince {
                // It may be deep in a long prompt: only a silence as long as a stall says that it hangs.
                if now - endingSince > bounds.stall { actions.append(.condemn(reason: Self.disobedience)) }
            } else if unread(id) > bounds.unreadBytes {
                // Nothing may be heard of it meanwhile: its output may be left unread.
                let since = entry.unreadSince ?? now
                entries[id]?.unreadSince = since
                guard now - since > bounds.unreadStall else { continue }
                let stalled = RuntimeError(
                    .timedOut, "the reader took nothing for \(bounds.unreadStall.wholeSeconds) s")
                actions += end(id, at: now) + [.fail(id, stalled)]
            } else if entry.unreadSince != nil {
                entries[id]?.unreadSince = nil
                entries[id]?.lastHeard = now
            } else if now - lastHeard > bounds.stall {
                let silence = RuntimeError(
                    .engineFailed, "the engine wrote nothing for \(bounds.stall.wholeSeconds) s")
                actions += end(id, at: now) + [.fail(id, silence)]
            } else if now - startedAt > bounds.answer {
                let late = RuntimeError(.timedOut, "the answer took more than \(bounds.answer.wholeSeconds) s")
                actions += end(id, at: now) + [.fail(id, late)]
            }
        }
        return actions
    }

    private mutating func end(_ id: RequestID, at now: Instant) -> [Action] {
        guard entries[id]?.endingSince == nil else { return [] }
        entries[id]?.endingSince = now
        return [.cancel(id)]
    }

    private mutating func release(_ id: RequestID, at now: Instant) -> [Action] {
        queue.leave(id)
        entries[id] = nil
        return advance(at: now)
    }

    private mutating func advance(at now: Instant) -> [Action] {
        queue.advance().map { id in
            entries[id]?.startedAt = now
            entries[id]?.lastHeard = now
            return .generate(id)
        }
    }
}

extension Duration {
    /// For messages: rounded up, at least 1.
    var wholeSeconds: Int64 { max(1, components.seconds + (components.attoseconds > 0 ? 1 : 0)) }
}
