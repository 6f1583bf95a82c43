import Core

/// Answers that go on without their client. Each is read to its end here; whoever wants it live reads along.
actor BackgroundAnswers {
    private struct Entry {
        let answer: JoinedAnswer
        let reading: Task<Void, Never>
    }

    private var entries: [Dot: Entry] = [:]

    /// Throws ``RuntimeError`` `.overloaded` when too many are on their way.
    func admit() throws(RuntimeError) {
        guard entries.count < Limits.backgroundAnswers else {
            throw RuntimeError(.overloaded, "too many answers are written in the background; try again later")
        }
    }

    /// Takes an answer over. What is returned reads along, and may be let go of at any time.
    func run(_ answer: ChatAnswer, of question: Dot) -> ChatAnswer {
        let joined = JoinedAnswer(answer)
        let reading = Task {
            var index = 0
            // The session keeps what came, and logs why no more did.
            while let event = try? await joined.event(index) {
                index += 1
                if case .finished = event { break }
            }
            self.ended(question)
        }
        entries[question] = Entry(answer: joined, reading: reading)
        var shared = answer
        shared.events = Self.events(of: joined)
        return shared
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
    }

    private func ended(_ question: Dot) { entries[question] = nil }

    private static func events(of answer: JoinedAnswer) -> AsyncThrowingStream<ChatEvent, any Error> {
        let reader = Reader(answer)
        return AsyncThrowingStream { try await reader.next() }
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
