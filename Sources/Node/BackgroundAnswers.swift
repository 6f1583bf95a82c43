import Core

/// Answers that go on without their client. Each is read to its end here; whoever wants it live reads along, and for a
/// while after its end again.
actor BackgroundAnswers {
    private struct Entry {
        let answer: JoinedAnswer
        let reading: Task<Void, Never>
        let watch: Task<Void, Never>
    }

    /// What an answer takes beside its events, about.
    private static let frameBytes = 4_096

    private var entries: [Dot: Entry] = [:]
    /// Those that are over, the oldest first.
    private var ended: [(question: Dot, answer: JoinedAnswer, bytes: Int)] = []

    /// Throws ``RuntimeError`` `.overloaded` when too many are on their way.
    func admit() throws(RuntimeError) {
        guard entries.count < Limits.backgroundAnswers else {
            throw RuntimeError(.overloaded, "too many answers are written in the background; try again later")
        }
    }

    /// Takes an answer over. What is returned reads along, and may be let go of at any time. `isGivenUp` is asked now
    /// and then whether anybody still wants it.
    func run(
        _ answer: ChatAnswer, of question: Dot, isGivenUp: @escaping @Sendable () async -> Bool
    ) -> ChatAnswer {
        let joined = JoinedAnswer(answer)
        let reading = Task {
            var index = 0
            var bytes = 0
            // To the end of the stream, which lets go of its engine then. The session keeps what came, and logs why no
            // more did.
            while let event = try? await joined.event(index) {
                index += 1
                bytes += event.bytes
            }
            self.end(question, bytes)
        }
        let watch = Task {
            while (try? await Task.sleep(for: Limits.backgroundWatch)) != nil {
                guard await isGivenUp() else { continue }
                return await joined.stop()
            }
        }
        entries[question] = Entry(answer: joined, reading: reading, watch: watch)
        return Self.shared(joined)
    }

    /// One that is being written, or is over and still known, from its first event.
    func answer(_ question: Dot) -> ChatAnswer? {
        (entries[question]?.answer ?? ended.last { $0.question == question }?.answer).map(Self.shared)
    }

    /// Stops an answer. Returns once it is given up; false for one that is not written here.
    func cancel(_ question: Dot) async -> Bool {
        guard let entry = entries[question] else { return false }
        await entry.answer.stop()
        await entry.reading.value
        return true
    }

    /// For the end of the daemon: what came so far is kept.
    func cancelAll() async {
        for entry in entries.values { await entry.answer.stop() }
        for entry in entries.values { await entry.reading.value }
        ended = []
    }

    private func end(_ question: Dot, _ bytes: Int) {
        guard let entry = entries.removeValue(forKey: question) else { return }
        entry.watch.cancel()
        ended.append((question, entry.answer, bytes + Self.frameBytes))
        var sum = ended.reduce(0) { $0 + $1.bytes }
        while sum > Limits.replayBytes, let oldest = ended.first {
            sum -= oldest.bytes
            ended.removeFirst()
        }
    }

    private static func shared(_ joined: JoinedAnswer) -> ChatAnswer {
        let reader = Reader(joined)
        var shared = joined.answer
        shared.events = EventStream { try await reader.next() }
        return shared
    }

    private actor Reader {
        private let answer: JoinedAnswer
        private var index = 0

        init(_ answer: JoinedAnswer) { self.answer = answer }

        func next() async throws -> ChatEvent? {
            let event = try await answer.event(index)
            index += 1
            return event
        }
    }
}

extension ChatEvent {
    /// About what it takes in memory.
    fileprivate var bytes: Int {
        switch self {
        case .text(_, let text), .reasoning(_, let text): 96 + text.utf8.count
        case .toolCall(_, let piece): 192 + piece.arguments.utf8.count + (piece.name?.utf8.count ?? 0)
        case .logprobs(_, let tokens): 96 + tokens.reduce(0) { $0 + 128 * ($1.alternatives.count + 1) }
        case .moved: 128
        case .finished: 128
        }
    }
}
