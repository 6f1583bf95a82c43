package import Core
package import Logging
import NIOHTTP1
import Synchronization

/// An engine of the kind `remote`: any server that speaks the OpenAI API. It is asked, never started; what it can do is
/// what the configuration says.
package actor RemoteEngine: InferenceEngine {
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
        package var slots = 64
        package var capabilities: Set<EngineCapability> = RemoteEngine.usualCapabilities

        package init(name: String, url: String, model: String) {
            self.name = name
            self.url = url
            self.model = model
        }
    }

    private enum Arrival: Sendable {
        case over(RequestID)
        case impatient(RequestID)
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

    private var queue: AdmissionQueue
    private var waiting: [RequestID: CheckedContinuation<Void, any Error>] = [:]
    /// Why the upstream cannot be reached, where it was tried last.
    private var outage: String?
    private var isKnown = false
    private var isStopped = false
    private var habits = UpstreamHabits()

    private nonisolated let requestCounter = RequestCounter()
    private nonisolated let arrivals: AsyncStream<Arrival>.Continuation
    private let arrivalStream: AsyncStream<Arrival>
    /// Kept to be cancelled.
    private var arrivalTask: Task<Void, Never>?
    private var probeTask: Task<Void, Never>?

    package init(_ options: Options, bounds: EngineBounds = EngineBounds(), log: Logger) {
        self.options = options
        self.bounds = bounds
        self.log = log
        var host = "upstream"
        do throws(RuntimeError) {
            let target = try HTTPTarget(url: options.url)
            host = "upstream \(target.authority)"
            upstream = .success(try HTTPUpstream(target, key: options.key, authority: options.authority))
            if target.authority.hasPrefix(Self.openAI) { habits.limitField = UpstreamHabits.newerLimit }
        } catch {
            upstream = .failure(error)
        }
        subject = "the \(host) of \(options.name)"
        queue = AdmissionQueue(slots: max(1, options.slots), maximumWaiting: bounds.waitingRequests)
        (arrivalStream, arrivals) = AsyncStream.makeStream()
    }

    // MARK: The port

    package func start() {
        guard arrivalTask == nil, !isStopped else { return }
        arrivalTask = Task {
            for await arrival in arrivalStream { take(arrival) }
        }
        probe()
    }

    package func describe() throws -> EngineDescription {
        if case .failure(let error) = upstream { throw error }
        return EngineDescription(
            kind: "remote", fingerprint: "remote \(options.model)",
            contextLength: options.contextLength ?? Self.presumedContext,
            tokenCost: TokenCost(perByte: 0.4, perMessage: 8, fixed: 8, isExact: false),
            samplingFields: [
                "temperature", "top_p", "top_k", "min_p", "seed", "presence_penalty", "frequency_penalty",
            ], capabilities: options.capabilities.subtracting([.tokenCounts, .partial]), slots: options.slots)
    }

    package func state() -> EngineState {
        if isStopped { return .stopped }
        if case .failure(let error) = upstream { return .restarting(reason: error.message) }
        if let outage { return .restarting(reason: outage) }
        return isKnown ? .ready : .starting
    }

    package func load() -> (waiting: Int, running: Int) { (queue.waiting.count, queue.running.count) }

    package nonisolated func generate(_ request: GenerationRequest) -> GenerationStream {
        let id = requestCounter.next()
        return AnswerSource.stream { isAgain in
            if !isAgain { try await self.admit(id) }
            return try await self.ask(request)
        } failure: { error, mayRetry in
            await self.meaning(of: error, mayRetry: mayRetry)
        } onEnd: { [arrivals] in
            arrivals.yield(.over(id))
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
        defer { arrivals.yield(.over(id)) }
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

    package func stop() async {
        guard !isStopped else { return }
        isStopped = true
        probeTask?.cancel()
        let stopping = RuntimeError(.unavailable, "the model \(options.name) is being stopped")
        for continuation in waiting.values { continuation.resume(throwing: stopping) }
        waiting = [:]
        if case .success(let upstream) = upstream { upstream.closeIdle() }
        arrivals.finish()
        await arrivalTask?.value
    }

    // MARK: Requests

    private func take(_ arrival: Arrival) {
        switch arrival {
        case .over(let id):
            queue.leave(id)
            for next in queue.advance() { waiting.removeValue(forKey: next)?.resume() }
        case .impatient(let id):
            waiting.removeValue(forKey: id)?.resume(throwing: CancellationError())
        }
    }

    private func admit(_ id: RequestID) async throws {
        try Task.checkCancellation()
        if isStopped { throw RuntimeError(.unavailable, "the model \(options.name) is being stopped") }
        switch queue.enter(id) {
        case .runs: return
        case .refused:
            throw RuntimeError(
                .overloaded, "\(queue.waiting.count) requests wait for this model already; try again later",
                retryAfter: .seconds(1))
        case .waits:
            try await withTaskCancellationHandler {
                try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                    if Task.isCancelled { return continuation.resume(throwing: CancellationError()) }
                    waiting[id] = continuation
                }
            } onCancel: {
                arrivals.yield(.impatient(id))
            }
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
            let tried = habits
            if request.rawPrompt == nil { tried.apply(to: &body) }
            let (head, connection) = try await upstream.open(.POST, path, json: body.json(request), bounds: bounds)
            reached()
            let stream = ChatStream(
                subject: subject, request: request, estimate: estimate, outputLimit: bounds.outputBytes)
            if head.status.code == 200 { return OpenAnswer(upstream: upstream, connection: connection, stream: stream) }
            let text = try await upstream.rest(of: connection, limit: 1024 * 1024)
            let reply = HTTPUpstream.Reply(head: head, body: text)
            // Each thing is learnt once, so this ends.
            guard request.rawPrompt == nil, tried.learns(from: reply, into: &habits) else {
                throw UpstreamError(subject).translated(reply)
            }
        }
    }

    /// Nil where another attempt may do better.
    private func meaning(of error: any Error, mayRetry: Bool) -> (any Error)? {
        switch error {
        case is HTTPInbox.ConnectionLost:
            if mayRetry, !isStopped { return nil }
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
        isKnown = true
        guard outage != nil else { return }
        outage = nil
        log.info("An upstream can be reached again", metadata: ["model.name": "\(options.name)"])
    }

    private func failed(_ reason: String) {
        isKnown = true
        if outage == nil {
            log.warning("An upstream cannot be reached", metadata: ["model.name": "\(options.name)"])
        }
        outage = reason
        probe()
    }

    /// Knocks until somebody answers, whatever the answer is.
    private func probe() {
        guard probeTask == nil, !isStopped, case .success(let upstream) = upstream else { return }
        var bounds = bounds
        bounds.answer = .seconds(10)
        probeTask = Task { [subject] in
            while !Task.isCancelled {
                do {
                    _ = try await upstream.send(.GET, "/models", bounds: bounds)
                    reached()
                    break
                } catch is CancellationError {
                    break
                } catch {
                    isKnown = true
                    if outage == nil { outage = "\(subject) does not answer" }
                }
                guard (try? await Task.sleep(for: Self.probeInterval)) != nil else { break }
            }
            probeTask = nil
        }
    }
}
