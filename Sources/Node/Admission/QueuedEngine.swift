package import Core
internal import Metrics
package import Swarm
internal import Synchronization

/// An engine before which requests wait for their turn, this host's own and those of its peers: the shell of
/// ``ModelQueue``. The engine never has more than it writes at once.
package final class QueuedEngine: InferenceEngine {
    package struct Policy: Hashable, Sendable {
        /// Requests that may wait.
        package var length: Int
        /// How long one waits that does not say so itself; nil: as long as it takes.
        package var patience: Duration?

        package init(length: Int = Limits.queuedRequestsPerModel, patience: Duration? = nil) {
            self.length = length
            self.patience = patience
        }
    }

    private struct Waiting {
        var continuation: CheckedContinuation<Void, any Error>
        var since: Duration
        var priority: Ticket.Priority
    }

    private struct State {
        var queue: ModelQueue
        var waiting: [ModelQueue.ID: Waiting] = [:]
        var last: ModelQueue.ID = 0
        var cost = TokenCost(perByte: 0.25, perMessage: 4, fixed: 0, isExact: false)
        var learnedAt: Duration?
        var isLearning = false
        var timer: (at: Duration, task: Task<Void, Never>)?
    }

    private let name: String
    private let engine: MeteredEngine
    private let policy: Policy
    private let state: Mutex<State>
    private let start = ContinuousClock.now
    private let metrics = QueueMetrics.shared

    package init(_ engine: any InferenceEngine, name: String, policy: Policy = Policy()) {
        self.engine = MeteredEngine(engine)
        self.name = name
        self.policy = policy
        state = Mutex(State(queue: ModelQueue(length: policy.length)))
    }

    private var now: Duration { ContinuousClock.now - start }

    package var rates: RateMeter { engine.rates }

    package var hasBacklog: Bool { state.withLock { $0.queue.waitingCount > 0 } }

    /// How many wait, of each class.
    package var waiting: [Ticket.Priority: Int] {
        state.withLock { state in
            Dictionary(
                uniqueKeysWithValues: Ticket.Priority.allCases.map { ($0, state.queue.waitingCount(of: $0)) })
        }
    }

    package func generate(_ request: GenerationRequest) -> GenerationStream {
        let answer = QueuedAnswer(self, engine, request)
        return GenerationStream { try await answer.next() }
    }

    package func embed(_ texts: [String]) async throws -> Embeddings {
        let bytes = texts.reduce(0) { $0 + $1.utf8.count }
        let turn = try await enter(Ticket(moves: Limits.queueMoves), cost: { $0.tokens(ofBytes: bytes) })
        do {
            let embeddings = try await engine.embed(texts)
            leave(turn, used: embeddings.promptTokens)
            return embeddings
        } catch {
            leave(turn, used: nil)
            throw error
        }
    }

    package func load() async -> (waiting: Int, running: Int) {
        let load = await engine.load()
        return (load.waiting + state.withLock { $0.queue.waitingCount }, load.running)
    }

    package func start() async { await engine.start() }
    package func describe() async throws -> EngineDescription { try await engine.describe() }
    package func state() async -> EngineState { await engine.state() }
    package func memory() async -> Int? { await engine.memory() }
    package func stop() async { await engine.stop() }

    package func countTokens(of messages: [Message], shape: AnswerShape) async throws -> Int? {
        try await engine.countTokens(of: messages, shape: shape)
    }

    // MARK: Turns

    /// Waits for a turn; ``leave(_:used:)`` must follow. Throws ``RuntimeError`` `.overloaded` or `.timedOut`, with
    /// ``QueueExit``.
    fileprivate func enter(
        _ ticket: Ticket, cost: @Sendable (TokenCost) -> Int
    ) async throws -> ModelQueue.ID {
        let id = state.withLock { state in
            state.last += 1
            return state.last
        }
        learn()
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                guard !Task.isCancelled else { return continuation.resume(throwing: CancellationError()) }
                change { state, now in
                    state.waiting[id] = Waiting(
                        continuation: continuation, since: now, priority: ticket.priority)
                    let patience = ticket.patience ?? policy.patience
                    return state.queue.entered(
                        ModelQueue.Request(
                            id: id, caller: ticket.caller, priority: ticket.priority, cost: cost(state.cost),
                            deadline: patience.map { now + $0 }, mayMove: ticket.moves < Limits.queueMoves),
                        at: now)
                }
                // It may have been cancelled before it stood there.
                if Task.isCancelled { giveUp(id) }
            }
        } onCancel: {
            giveUp(id)
        }
        return id
    }

    /// - Parameter used: the tokens that it took; nil where it was not really served.
    fileprivate func leave(_ id: ModelQueue.ID, used: Int?) {
        change { state, now in state.queue.left(id, used: used, at: now) }
    }

    private func giveUp(_ id: ModelQueue.ID) {
        let waiting = state.withLock { $0.waiting.removeValue(forKey: id) }
        // It has its turn already, and leaves by itself; or it has not come yet, and will not.
        guard let waiting else { return }
        leave(id, used: nil)
        waiting.continuation.resume(throwing: CancellationError())
    }

    /// What waits here may begin at once on other hosts.
    func compare(with helpers: [ModelQueue.Helper], isHot: Bool) {
        change { state, now in state.queue.compared(with: helpers, isHot: isHot, at: now) }
    }

    private func change(_ event: @Sendable (inout State, Duration) -> [ModelQueue.Action]) {
        let now = now
        let ends: [(Waiting, Result<Void, any Error>)] = state.withLock { state in
            let actions = event(&state, now)
            let ends = actions.compactMap { action -> (Waiting, Result<Void, any Error>)? in
                let (id, result) = meaning(of: action)
                return state.waiting.removeValue(forKey: id).map { ($0, result) }
            }
            schedule(&state, now)
            return ends
        }
        for (waiting, result) in ends {
            if case .success = result { metrics.waited(now - waiting.since, waiting.priority) }
            waiting.continuation.resume(with: result)
        }
    }

    private func meaning(of action: ModelQueue.Action) -> (ModelQueue.ID, Result<Void, any Error>) {
        switch action {
        case .start(let id): return (id, .success(()))
        case .refuse(let id, let position, let wait):
            metrics.refused(.full)
            let wait = min(max(.seconds(1), wait), Limits.queueRetry)
            return (
                id,
                .failure(
                    RuntimeError(
                        .overloaded,
                        "too much is asked of the model \(name): its queue is full, and number \(position) would have "
                            + "its turn in about \(wait.components.seconds) s; try again then",
                        retryAfter: wait, cause: QueueExit.full(position: position)))
            )
        case .expire(let id, let position):
            metrics.refused(.expired)
            return (
                id,
                .failure(
                    RuntimeError(
                        .timedOut,
                        "the request has waited for its turn at the model \(name) for as long as it may; \(position) "
                            + "requests wait there", cause: QueueExit.expired(position: position)))
            )
        case .move(let id, let node, let move):
            metrics.moved(move)
            return (
                id,
                .failure(
                    RuntimeError(
                        .overloaded, "the request has gone on to a host that has less to do",
                        retryAfter: .seconds(1), cause: QueueExit.moved(to: node)))
            )
        }
    }

    /// Wakes the queue when somebody has waited for too long.
    private func schedule(_ state: inout State, _ now: Duration) {
        let next = state.queue.nextDeadline
        guard next != state.timer?.at else { return }
        state.timer?.task.cancel()
        state.timer = next.map { at in
            let task = Task { [weak self] in
                guard (try? await Task.sleep(for: max(.zero, at - now))) != nil, let self else { return }
                change { state, now in
                    state.timer = nil
                    return state.queue.ticked(at: now)
                }
            }
            return (at, task)
        }
    }

    /// Asks the engine from time to time how many answers it writes at once, and what a prompt costs.
    private func learn() {
        let now = now
        let isDue = state.withLock { state in
            guard !state.isLearning, state.learnedAt.map({ now - $0 > Self.relearning }) ?? true else { return false }
            state.isLearning = true
            return true
        }
        guard isDue else { return }
        Task {
            // One that cannot say it will say to each request why.
            let found = try? await engine.describe()
            change { state, now in
                state.isLearning = false
                state.learnedAt = now
                if let found { state.cost = found.tokenCost }
                return state.queue.learned(slots: found?.slots ?? 1, at: now)
            }
        }
    }

    private static let relearning = Duration.seconds(1)

    deinit { state.withLock { $0.timer?.task.cancel() } }
}

/// One answer: waits for its turn when its reader wants the first event, and gives it up with the last.
private actor QueuedAnswer {
    private let queue: QueuedEngine
    private let engine: MeteredEngine
    private let request: GenerationRequest
    private var events: GenerationStream.AsyncIterator?
    private var turn: ModelQueue.ID?
    private var promptTokens = 0
    /// Given out; each is a token or so.
    private var pieces = 0

    init(_ queue: QueuedEngine, _ engine: MeteredEngine, _ request: GenerationRequest) {
        self.queue = queue
        self.engine = engine
        self.request = request
    }

    func next() async throws -> GenerationEvent? {
        do {
            var iterator: GenerationStream.AsyncIterator
            if let events {
                iterator = events
            } else {
                turn = try await queue.enter(request.ticket) { [request] in request.tokens($0) }
                iterator = engine.generate(request).makeAsyncIterator()
            }
            let event = try await iterator.next(isolation: self)
            events = iterator
            switch event {
            case .finished(_, let usage):
                let (read, overflows) = usage.promptTokens.subtractingReportingOverflow(usage.cachedTokens)
                end(used: (overflows ? 0 : max(0, read)) + min(max(0, usage.completionTokens), 1 << 30))
            case nil: end(used: spent)
            default: pieces += 1
            }
            return event
        } catch {
            end(used: spent)
            throw error
        }
    }

    /// Of an answer that has no end of its own.
    private var spent: Int? { pieces > 0 ? pieces : nil }

    private func end(used: Int?) {
        guard let turn else { return }
        self.turn = nil
        queue.leave(turn, used: used)
    }

    deinit {
        // Its reader has left.
        if let turn { queue.leave(turn, used: pieces > 0 ? pieces : nil) }
    }
}

extension GenerationRequest {
    /// Of the prompt, and of the longest answer.
    fileprivate func tokens(_ cost: TokenCost) -> Int {
        let prompt = rawPrompt.map { cost.tokens(ofBytes: $0.utf8.count) } ?? cost.tokens(of: messages)
        return min(prompt, 1 << 29) + min(maximumTokens, 1 << 29)
    }
}

/// The instruments of all queues, made at the start so that a page without waiting says so.
private struct QueueMetrics: Sendable {
    enum Refusal: String, CaseIterable {
        case full, expired
    }

    static let shared = QueueMetrics()

    private let waits = Dictionary(
        uniqueKeysWithValues: Ticket.Priority.allCases.map {
            ($0, Timer(label: "igris_queue_wait_seconds", dimensions: [("class", $0.rawValue)]))
        })
    private let refusals = Dictionary(
        uniqueKeysWithValues: Refusal.allCases.map {
            ($0, Counter(label: "igris_queue_refusals_total", dimensions: [("reason", $0.rawValue)]))
        })
    private let moves = Dictionary(
        uniqueKeysWithValues: ModelQueue.Move.allCases.map {
            ($0, Counter(label: "igris_migrations_total", dimensions: [("reason", $0.rawValue)]))
        })

    func waited(_ duration: Duration, _ priority: Ticket.Priority) { waits[priority]?.record(duration: duration) }
    func refused(_ reason: Refusal) { refusals[reason]?.increment() }
    func moved(_ move: ModelQueue.Move) { moves[move]?.increment() }
}
