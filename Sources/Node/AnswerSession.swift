internal import Core
internal import Logging
internal import Metrics
internal import Synchronization

/// One answer on its way: pulls from the engine what the client is ready to take, and sees to it that the turn is kept
/// whichever way it ends.
actor AnswerSession {
    private let choices: Int
    private let begin: @Sendable (_ choice: Int) -> GenerationStream
    private let conversations: Conversations
    private let destination: ConversationPlan.Destination?
    private let model: String
    private let promptTokens: Int
    private let answers: OpenAnswers
    private let log: Logger
    private let sharing: AnswerSharing?
    private var live: LiveAnswer?

    private var stream: GenerationStream.AsyncIterator?
    private var first: GenerationEvent?
    private var choice = 0
    /// The answer that is kept, so far.
    private var message = Message(.assistant, "")
    private(set) var question: Dot?
    /// When the question was written, if that was now.
    private(set) var asked: HybridTimestamp?
    private var isOver = false
    private var isInBackground = false
    /// How many stores have what was written last of this exchange.
    private(set) var replicas = 0

    init(
        choices: Int, conversations: Conversations, destination: ConversationPlan.Destination?, model: String,
        promptTokens: Int, answers: OpenAnswers, log: Logger, sharing: AnswerSharing? = nil,
        begin: @escaping @Sendable (_ choice: Int) -> GenerationStream
    ) {
        self.choices = choices
        self.conversations = conversations
        self.destination = destination
        self.model = model
        self.promptTokens = promptTokens
        self.answers = answers
        self.log = log
        self.sharing = sharing
        self.begin = begin
    }

    /// Waits for the engine's first event, then until the question is on disk; the engine goes on meanwhile. Nothing
    /// is given out before that, and a question that cannot be written is still a plain error. Of an answer in the
    /// background only the question is waited for.
    func start(inBackground: Bool = false) async throws {
        isInBackground = inBackground
        if !inBackground {
            first = try await pull()
            guard first != nil else {
                try Task.checkCancellation()
                throw RuntimeError(.engineFailed, "the engine ended without an answer; try again")
            }
        }
        guard let destination else { return }
        (question, replicas, asked) = try await conversations.recordQuestion(destination)
        if let question { await answers.asked(question) }
        if let question, let sharing, choices == 1 { live = await sharing.begin(question) }
    }

    /// Somebody else reads the answer along: it goes on without its own client.
    var isFollowed: Bool { live?.isFollowed ?? false }

    /// The next event for the client; nil after the last.
    func next() async throws -> ChatEvent? {
        guard !isOver else { return nil }
        do {
            if choice >= choices {
                isOver = true
                return nil
            }
            let event: GenerationEvent?
            if let first {
                event = first
                self.first = nil
            } else {
                event = try await pull()
            }
            switch event {
            case .text(let piece):
                if choice == 0 { message.text += piece }
                live?.add(.text(piece))
                return .text(choice: choice, piece)
            case .reasoning(let piece):
                if choice == 0 { message.reasoning = (message.reasoning ?? "") + piece }
                live?.add(.reasoning(piece))
                return .reasoning(choice: choice, piece)
            case .toolCall(let piece):
                if choice == 0 { try message.add(piece) }
                live?.add(.toolCall(piece))
                return .toolCall(choice: choice, piece)
            case .logprobs(let tokens):
                live?.add(.logprobs(tokens))
                return .logprobs(choice: choice, tokens)
            case .moved(let failover):
                return .moved(choice: choice, failover)
            case .finished(let reason, let usage):
                if choice == 0 { try await keep(reason, usage) }
                live?.add(.finished(reason: reason, usage: usage))
                await unshare(nil)
                defer {
                    choice += 1
                    stream = nil
                }
                return .finished(choice: choice, reason: reason, usage: usage)
            case nil:
                try Task.checkCancellation()
                throw RuntimeError(.engineFailed, "the engine ended in the middle of its answer; try again")
            }
        } catch {
            let isGivenUp = error is CancellationError || Task.isCancelled
            await end(isGivenUp ? .aborted : .failed, error: isGivenUp ? Self.givenUp : error)
            throw error
        }
    }

    /// The client has gone, or the engine has failed: what was written so far is kept, in a task of its own because
    /// the client's may be cancelled.
    func end(_ reason: FinishReason, error: any Error = givenUp) async {
        guard !isOver else { return }
        isOver = true
        stream = nil
        await unshare(error)
        guard choice == 0, let question else { return }
        let usage = TokenUsage(promptTokens: promptTokens, completionTokens: 0, isExact: false)
        // Without a client nobody has gone away: it was cancelled, or the daemon stops.
        let isStopped = isInBackground && reason == .aborted ? await answers.isClosing : false
        let reason = isStopped ? FinishReason.failed : reason
        await Task { [log] in
            do {
                try await self.keep(reason, usage)
            } catch {
                log.error("a partial answer could not be kept", metadata: ["error": "\(error)"])
            }
            await self.answers.kept(question)
        }.value
    }

    private static let givenUp = RuntimeError(.engineFailed, "the client that asked for the answer has given it up")

    private func unshare(_ error: (any Error)?) async {
        guard let live, let question, let sharing else { return }
        self.live = nil
        await sharing.answers.end(live, to: question, error)
    }

    private func pull() async throws -> GenerationEvent? {
        var iterator = stream ?? begin(choice).makeAsyncIterator()
        let event = try await iterator.next(isolation: self)
        if stream == nil { failpoint("answer.first") }
        stream = iterator
        return event
    }

    private func keep(_ reason: FinishReason, _ usage: TokenUsage) async throws {
        guard let destination, let question else { return }
        failpoint("answer.end")
        replicas = try await conversations.recordAnswer(
            message, outcome: Turn.Outcome(finishReason: reason, usage: usage, model: model), to: question,
            of: destination)
        await answers.kept(question)
    }
}

/// Tells the session when the last reader of its events lets go of them.
final class AnswerGuard: Sendable {
    private let session: AnswerSession
    private let answers: OpenAnswers
    /// The session has said so itself.
    private let isOver = Atomic(false)

    /// `answers` has counted this one already.
    init(_ session: AnswerSession, _ answers: OpenAnswers) {
        self.session = session
        self.answers = answers
    }

    func next() async throws -> ChatEvent? {
        do {
            let event = try await session.next()
            if event == nil { isOver.store(true, ordering: .relaxed) }
            return event
        } catch {
            isOver.store(true, ordering: .relaxed)
            throw error
        }
    }

    deinit {
        if isOver.load(ordering: .relaxed) { return answers.end() }
        Task { [session, answers] in
            while await session.isFollowed, (try? await session.next()) != nil {}  // the session logs what fails
            await session.end(.aborted)
            answers.end()
        }
    }
}
