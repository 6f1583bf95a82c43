package import Core
package import Logging
import NIOHTTP1
import Synchronization

/// An engine of the kind `remote`: any server that speaks the OpenAI API. It is asked, never started; what it can do is
/// what the configuration says.
package final class RemoteEngine: InferenceEngine {
    package struct Options: Sendable {
        /// The model's name, for the log and for messages.
        package var name: String
        /// `http://HOST:PORT/v1` or `https://…`.
        package var url: String
        package var key: Secret<String>?
        /// Certificates (PEM) that are trusted beside the machine's.
        package var authority: String?
        /// The model's name at the upstream.
        package var model: String
        /// Tokens of prompt and answer; nil where the upstream knows best.
        package var contextLength: Int?
        /// Requests to it at the same time; more wait.
        package var slots = 256
        package var capabilities: Set<EngineCapability> = RemoteEngine.usualCapabilities

        package init(name: String, url: String, model: String) {
            self.name = name
            self.url = url
            self.model = model
        }
    }

    /// What servers of this kind can do nearly always; embeddings and plain completions are for other models.
    package static let usualCapabilities: Set<EngineCapability> = [
        .tools, .jsonObject, .jsonSchema, .logprobs, .logitBias,
    ]
    /// Where the configuration tells no context length, none is presumed: the upstream refuses what is too long, and
    /// nothing is left out that it might have taken.
    private static let presumedContext = 1_000_000
    private static let openAI = "api.openai.com"
    private static let probeInterval = Duration.seconds(5)

    private let options: Options
    private let bounds: EngineBounds
    private let log: Logger
    private let subject: String
    private let upstream: Result<HTTPUpstream, RuntimeError>
    private let description: EngineDescription

    /// No actor: every piece of every answer would have to change to it and back.
    private struct State {
        var queue: AdmissionQueue
        var waiting: [RequestID: CheckedContinuation<Void, any Error>] = [:]
        /// Why the upstream cannot be reached, where it was tried last.
        var outage: String?
        var isKnown = false
        var isStopped = false
        var habits = UpstreamHabits()
        /// Kept to be cancelled.
        var probe: Task<Void, Never>?
    }

    private let current: Mutex<State>
    private let requestCounter = RequestCounter()

    package init(_ options: Options, bounds: EngineBounds = EngineBounds(), log: Logger) {
        self.options = options
        self.bounds = bounds
        self.log = log
        description = EngineDescription(
            kind: "remote", fingerprint: "remote \(options.model)",
            contextLength: options.contextLength ?? Self.presumedContext,
            tokenCost: TokenCost(perByte: 0.4, perMessage: 8, fixed: 8, isExact: false),
            samplingFields: [
                "temperature", "top_p", "top_k", "min_p", "seed", "presence_penalty", "frequency_penalty",
            ], capabilities: options.capabilities.subtracting([.tokenCounts, .partial]), slots: options.slots)
        var host = "upstream"
        var habits = UpstreamHabits()
        do throws(RuntimeError) {
            let target = try HTTPTarget(url: options.url)
            host = "upstream \(target.authority)"
            upstream = .success(try HTTPUpstream(target, key: options.key, authority: options.authority))
            if target.authority.hasPrefix(Self.openAI) { habits.limitField = UpstreamHabits.newerLimit }
        } catch {
            upstream = .failure(error)
        }
        subject = "the \(host) of \(options.name)"
        let queue = AdmissionQueue(slots: max(1, options.slots), maximumWaiting: bounds.waitingRequests)
        current = Mutex(State(queue: queue, habits: habits))
    }

    // MARK: The port

    package func start() { probe() }

    package func describe() throws -> EngineDescription {
        if case .failure(let error) = upstream { throw error }
        return description
    }

    package func state() -> EngineState {
        current.withLock { current in
            if current.isStopped { return .stopped }
            if case .failure(let error) = upstream { return .restarting(reason: error.message) }
            if let outage = current.outage { return .restarting(reason: outage) }
            return current.isKnown ? .ready : .starting
        }
    }

    package func load() -> (waiting: Int, running: Int) {
        current.withLock { ($0.queue.waiting.count, $0.queue.running.count) }
    }

    package func generate(_ request: GenerationRequest) -> GenerationStream {
        let id = requestCounter.next()
        return AnswerSource.stream { isAgain in
            if !isAgain { try await self.admit(id) }
            return try await self.ask(request)
        } failure: { error, mayRetry in
            self.meaning(of: error, mayRetry: mayRetry)
        } onEnd: {
            self.leave(id)
        }
    }

    package func embed(_ texts: [String]) async throws -> Embeddings {
        guard options.capabilities.contains(.embeddings) else {
            throw RuntimeError(
                .invalidRequest,
                "this model makes no embeddings; add \"embeddings\" to the capabilities of its entry if it does",
                parameter: "model")
        }
        let id = requestCounter.next()
        defer { leave(id) }
        try await admit(id)
        do {
            let reply = try await upstream.get().send(
                .POST, "/embeddings", json: EmbeddingsBody.json(texts, model: options.model),
                limit: Limits.engineEmbeddingBytes, bounds: bounds)
            reached()
            guard reply.isSuccess else { throw UpstreamError(subject).translated(reply) }
            return try EmbeddingsBody.read(reply.body, count: texts.count, subject: subject)
        } catch {
            throw meaning(of: error, mayRetry: false) ?? error
        }
    }

    package func stop() {
        let (waiting, probe) = current.withLock { current in
            current.isStopped = true
            defer { current.waiting = [:] }
            return (current.waiting, current.probe.take())
        }
        probe?.cancel()
        for continuation in waiting.values { continuation.resume(throwing: stopping) }
        if case .success(let upstream) = upstream { upstream.closeIdle() }
    }

    private var stopping: RuntimeError { RuntimeError(.unavailable, "the model \(options.name) is being stopped") }

    // MARK: Requests

    private func leave(_ id: RequestID) {
        let next = current.withLock { current in
            current.queue.leave(id)
            return current.queue.advance().compactMap { current.waiting.removeValue(forKey: $0) }
        }
        for continuation in next { continuation.resume() }
    }

    private func admit(_ id: RequestID) async throws {
        try Task.checkCancellation()
        let admission = try current.withLock { current throws -> AdmissionQueue.Admission in
            if current.isStopped { throw stopping }
            let admission = current.queue.enter(id)
            guard admission != .refused else {
                throw RuntimeError(
                    .overloaded,
                    "\(current.queue.waiting.count) requests wait for this model already; try again later",
                    retryAfter: .seconds(1))
            }
            return admission
        }
        guard admission == .waits else { return }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                let verdict = current.withLock { current -> Result<Void, any Error>? in
                    if current.isStopped { return .failure(stopping) }
                    if Task.isCancelled { return .failure(CancellationError()) }
                    // Its turn may have come already.
                    if current.queue.running.contains(id) { return .success(()) }
                    current.waiting[id] = continuation
                    return nil
                }
                if let verdict { continuation.resume(with: verdict) }
            }
        } onCancel: {
            current.withLock { $0.waiting.removeValue(forKey: id) }?.resume(throwing: CancellationError())
        }
    }

    private func ask(_ request: GenerationRequest) async throws -> OpenAnswer {
        let description = try describe()
        let estimate =
            description.tokenCost.tokens(of: request.messages)
            + description.tokenCost.tokens(ofBytes: request.shape.promptBytes)
        var body = ChatBody(model: options.model)
        // As many as the context leaves, by our estimate: the upstream knows that better.
        let room = description.contextLength - description.contextLength / 50 - estimate
        let isBounded = request.maximumTokens < room || request.rawPrompt != nil
        body.maximumTokens = isBounded ? request.maximumTokens : nil
        let upstream = try upstream.get()
        let path = request.rawPrompt == nil ? "/chat/completions" : "/completions"
        while true {
            let tried = current.withLock { $0.habits }
            if request.rawPrompt == nil { tried.apply(to: &body) }
            // Log-probabilities of many tokens are more than one JSON text may hold.
            body.isWhole = request.isReadWhole && tried.toleratesSilence && request.shape.logprobs == nil
            var bounds = bounds
            if body.isWhole { bounds.stall = bounds.answer }
            let (head, connection) = try await upstream.open(.POST, path, json: body.json(request), bounds: bounds)
            reached()
            let stream = ChatStream(
                subject: subject, request: request, estimate: estimate, outputLimit: bounds.outputBytes)
            if head.status.code == 200 {
                // Some stream whatever they are asked for.
                let isStream = head.headers.first(name: "content-type")?.hasPrefix("text/event-stream") ?? !body.isWhole
                return OpenAnswer(
                    upstream: upstream, connection: connection, stream: stream, isWhole: body.isWhole && !isStream)
            }
            let text = try await upstream.rest(of: connection, limit: 1024 * 1024)
            let reply = HTTPUpstream.Reply(head: head, body: text)
            // Each thing is learnt once, so this ends.
            let isLearnt = current.withLock { current in
                tried.learns(from: reply, wasWhole: body.isWhole, into: &current.habits)
            }
            guard isLearnt, request.rawPrompt == nil || body.isWhole else {
                throw UpstreamError(subject).translated(reply)
            }
        }
    }

    /// Nil where another attempt may do better.
    private func meaning(of error: any Error, mayRetry: Bool) -> (any Error)? {
        switch error {
        case is HTTPInbox.ConnectionLost:
            if mayRetry, !current.withLock({ $0.isStopped }) { return nil }
            return RuntimeError(.engineFailed, "\(subject) closed the connection before its answer was complete")
        case let error as HTTPUpstream.Unreachable:
            let reason = "\(subject) cannot be reached; is it running, and is the model's url right?"
            failed(reason)
            return RuntimeError(.unavailable, reason, retryAfter: .seconds(2), cause: error.cause)
        default: return error
        }
    }

    // MARK: Whether it is there

    private func reached() {
        let hadOutage = current.withLock { current in
            current.isKnown = true
            return current.outage.take() != nil
        }
        if hadOutage {
            log.info("An upstream can be reached again", metadata: ["model.name": "\(options.name)"])
        }
    }

    private func failed(_ reason: String) {
        let isNew = current.withLock { current in
            current.isKnown = true
            defer { current.outage = reason }
            return current.outage == nil
        }
        if isNew {
            log.warning("An upstream cannot be reached", metadata: ["model.name": "\(options.name)"])
        }
        probe()
    }

    /// Knocks until somebody answers, whatever the answer is.
    private func probe() {
        guard case .success(let upstream) = upstream else { return }
        current.withLock { current in
            guard current.probe == nil, !current.isStopped else { return }
            current.probe = Task { [weak self] in
                while !Task.isCancelled {
                    guard let engine = self, await !engine.isReached(upstream) else { break }
                    guard (try? await Task.sleep(for: Self.probeInterval)) != nil else { break }
                }
                self?.current.withLock { $0.probe = nil }
            }
        }
    }

    /// True also where nobody wants to know any more.
    private func isReached(_ upstream: HTTPUpstream) async -> Bool {
        var bounds = bounds
        bounds.answer = .seconds(10)
        do {
            _ = try await upstream.send(.GET, "/models", bounds: bounds)
            reached()
            return true
        } catch is CancellationError {
            return true
        } catch {
            current.withLock { current in
                current.isKnown = true
                if current.outage == nil { current.outage = "\(subject) does not answer" }
            }
            return false
        }
    }
}
