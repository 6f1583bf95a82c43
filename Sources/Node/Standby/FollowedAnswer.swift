import Core
internal import Swarm

/// An answer that is read along, wherever it is written, and goes on where somebody else has taken it up. What was
/// given out already is compared and left out then.
actor FollowedAnswer {
    nonisolated let facts: AnswerFacts
    private let question: Dot
    private let answers: LiveAnswers
    private let kept: @Sendable () async -> [GenerationEvent]?
    private var soFar = AnswerSoFar()
    private var stream: GenerationStream.AsyncIterator?
    private var lastHeard = ContinuousClock.now

    /// - Parameter kept: the whole answer once the conversation has it.
    init(
        _ question: Dot, _ facts: AnswerFacts, by answers: LiveAnswers,
        kept: @escaping @Sendable () async -> [GenerationEvent]?
    ) {
        self.question = question
        self.facts = facts
        self.answers = answers
        self.kept = kept
    }

    /// Nil after the last event.
    ///
    /// - Throws: ``RuntimeError``: the writer's, or `.unavailable` where nobody goes on with it.
    func next() async throws -> GenerationEvent? {
        while !soFar.isFinished {
            do {
                var iterator = try await opened()
                let event = try await iterator.next(isolation: self)
                stream = iterator
                try Task.checkCancellation()
                guard let event else { throw Self.lost }
                lastHeard = .now
                if let fresh = try soFar.take(event) { return fresh }
            } catch let error as RuntimeError where error.code == .unavailable {
                stream = nil
                soFar.beginAgain()
                guard ContinuousClock.now - lastHeard < Limits.reattachPatience else { throw error }
                // Somebody who stands by takes it up as soon as the swarm holds the writer for dead.
                try await Task.sleep(for: Limits.standbyInterval)
            }
        }
        return nil
    }

    private func opened() async throws -> GenerationStream.AsyncIterator {
        if let stream { return stream }
        if let here = await answers.follow(question) { return GenerationStream(here).makeAsyncIterator() }
        if let place = await answers.place(of: question) {
            return try await place.link.stream(.follow(question), of: "").makeAsyncIterator()
        }
        // It may have come to its end while nobody looked.
        guard let events = await kept() else { throw Self.lost }
        return GenerationStream(events).makeAsyncIterator()
    }

    private static var lost: RuntimeError {
        RuntimeError(
            .unavailable, "the host that wrote the answer is gone, and no other goes on with it; ask again")
    }
}
