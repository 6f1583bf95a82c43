import Core
internal import Synchronization

/// Requests with one idempotency key that are here at the same time get one answer: the first begins it, the others
/// read it along from its beginning. Once it is over it stands in the conversation, where a later retry finds it.
actor JoinedAnswers {
    struct Identity: Hashable {
        var caller: Owner
        var key: String
        var continuation: ChatRequest.Continuation
        var user: String?
    }

    private struct Entry {
        let number: Int
        let messages: [Message]
        let begin: Task<JoinedAnswer, any Error>
        var readers = 1
    }

    private var entries: [Identity: Entry] = [:]
    private var numbers = 0

    /// Joins the answer of that identity that is on its way, or begins it.
    ///
    /// Throws ``RuntimeError`` `.invalidRequest` where that one was asked with other `messages`.
    func answer(
        _ identity: Identity, to messages: [Message], begin: @escaping @Sendable () async throws -> ChatAnswer
    ) async throws -> ChatAnswer {
        let number: Int
        let task: Task<JoinedAnswer, any Error>
        if let entry = entries[identity] {
            guard entry.messages == messages else { throw Conversations.reusedKey }
            entries[identity]?.readers += 1
            (number, task) = (entry.number, entry.begin)
        } else {
            numbers += 1
            number = numbers
            // Not one client's own: it goes on while any of them wants it, and is cancelled with the last.
            task = Task { JoinedAnswer(try await begin()) }
            entries[identity] = Entry(number: number, messages: messages, begin: task)
        }
        let reader = Reader { await self.leave(identity, number) }
        do {
            let joined = try await withTaskCancellationHandler {
                try await task.value
            } onCancel: {
                reader.leave()
            }
            try Task.checkCancellation()
            var answer = joined.answer
            let events = Events(joined, reader) { await self.ended(identity, number) }
            answer.events = EventStream { try await events.next() }
            return answer
        } catch {
            reader.leave()
            if !(error is CancellationError) { ended(identity, number) }
            throw error
        }
    }

    private func leave(_ identity: Identity, _ number: Int) {
        guard let entry = entries[identity], entry.number == number else { return }
        entries[identity]?.readers -= 1
        guard entry.readers <= 1 else { return }
        entries[identity] = nil
        entry.begin.cancel()
        Task {
            // One that never began has nothing to stop.
            await (try? entry.begin.value)?.stop()
        }
    }

    private func ended(_ identity: Identity, _ number: Int) {
        if entries[identity]?.number == number { entries[identity] = nil }
    }

    /// Says once that a client wants no more.
    private final class Reader: Sendable {
        private let onLeave: @Sendable () async -> Void
        private let hasLeft = Mutex(false)

        init(onLeave: @escaping @Sendable () async -> Void) { self.onLeave = onLeave }

        func leave() {
            let isFirst = hasLeft.withLock { hasLeft in
                defer { hasLeft = true }
                return !hasLeft
            }
            if isFirst { Task { [onLeave] in await onLeave() } }
        }

        deinit { leave() }
    }

    /// One client's way through the answer.
    private actor Events {
        private let answer: JoinedAnswer
        private let reader: Reader
        private let onEnd: @Sendable () async -> Void
        private var index = 0

        init(_ answer: JoinedAnswer, _ reader: Reader, onEnd: @escaping @Sendable () async -> Void) {
            self.answer = answer
            self.reader = reader
            self.onEnd = onEnd
        }

        func next() async throws -> ChatEvent? {
            do {
                let event = try await answer.event(index)
                index += 1
                if event == nil { await onEnd() }
                return event
            } catch {
                // Cancelled is this client alone, not the answer.
                if !(error is CancellationError) { await onEnd() }
                throw error
            }
        }
    }
}

/// An answer that several clients read. What was read is kept until it is over: an answer is bounded by its engine.
actor JoinedAnswer {
    nonisolated let answer: ChatAnswer
    private var source: EventStream<ChatEvent>.AsyncIterator
    private var events: [ChatEvent] = []
    private var end: Result<Void, any Error>?
    private var isStopped = false
    private var reading: Task<Void, Never>?
    private var waiting: [Int: CheckedContinuation<Void, any Error>] = [:]
    private var tickets = 0

    init(_ answer: ChatAnswer) {
        self.answer = answer
        source = answer.events.makeAsyncIterator()
    }

    /// The `index`-th event; nil after the last. Read from the engine as the fastest client takes it.
    func event(_ index: Int) async throws -> ChatEvent? {
        while true {
            if index < events.count { return events[index] }
            if let end {
                try end.get()
                return nil
            }
            // In a task of its own: a client that goes away must not end what the others read.
            if reading == nil { reading = Task { await self.read() } }
            if isStopped { reading?.cancel() }
            try await wait()
        }
    }

    /// It is given up, whoever reads.
    func stop() {
        isStopped = true
        reading?.cancel()
    }

    private func read() async {
        do {
            var iterator = source
            let event = try await iterator.next(isolation: self)
            source = iterator
            if let event { events.append(event) } else { end = .success(()) }
        } catch {
            end = .failure(error)
        }
        reading = nil
        let readers = waiting.sorted { $0.key < $1.key }
        waiting = [:]
        for reader in readers { reader.value.resume() }
    }

    private func wait() async throws {
        tickets += 1
        let ticket = tickets
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                if Task.isCancelled {
                    continuation.resume(throwing: CancellationError())
                } else {
                    waiting[ticket] = continuation
                }
            }
        } onCancel: {
            Task { await self.giveUp(ticket) }
        }
    }

    private func giveUp(_ ticket: Int) { waiting.removeValue(forKey: ticket)?.resume(throwing: CancellationError()) }
}
