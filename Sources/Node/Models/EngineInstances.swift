package import Core
package import Logging
internal import Metrics

/// Several instances of one model's engine as one engine: the shell of ``InstanceScaler``.
package actor EngineInstances: InferenceEngine {
    private static let look = Duration.milliseconds(100)

    private let name: String
    private let most: Int
    private let make: @Sendable () throws -> any InferenceEngine
    private let log: Logger
    private let clock = ContinuousClock()
    private var scaler: InstanceScaler
    private var engines: [InstanceScaler.Number: any InferenceEngine] = [:]
    private var known: EngineDescription?
    private var failure: RuntimeError?
    private var waiting: [InstanceScaler.Request: CheckedContinuation<Grant, any Error>] = [:]
    private var requests: InstanceScaler.Request = 0
    private var work: [InstanceScaler.Number: Task<Void, Never>] = [:]
    private var ticker: Task<Void, Never>?

    struct Grant: Sendable {
        var number: InstanceScaler.Number
        var engine: any InferenceEngine
    }

    /// - Parameters:
    ///   - least, most: how many instances there are.
    ///   - wait: so long a request waits before another is started.
    ///   - idle: so long one less would have sufficed before one is stopped.
    package init(
        name: String, least: Int, most: Int, wait: Duration, idle: Duration, log: Logger,
        make: @escaping @Sendable () throws -> any InferenceEngine
    ) {
        self.name = name
        self.most = max(1, least, most)
        self.make = make
        self.log = log
        scaler = InstanceScaler(.init(least: max(1, least), most: max(1, least, most), wait: wait, idle: idle))
    }

    // MARK: - The engine

    package func start() async {
        guard ticker == nil else { return }
        perform(scaler.began(at: clock.now))
        ticker = Task {
            while !Task.isCancelled {
                tick()
                // Cancelled with the engine.
                try? await Task.sleep(for: Self.look)
            }
        }
        // As with one instance, whoever starts it may ask at once.
        if let first = engines.min(by: { $0.key < $1.key })?.value { await first.start() }
    }

    private func tick() { perform(scaler.ticked(at: clock.now)) }

    package func stop() async {
        ticker?.cancel()
        perform(scaler.stopped())
        for task in work.values { await task.value }
    }

    /// So many slots as all instances would have that there may be: what has no room yet waits here, where it is seen
    /// to wait, and not in the queue before.
    package func describe() async throws -> EngineDescription {
        guard var known else {
            guard let first = engines.min(by: { $0.key < $1.key })?.value else {
                throw failure ?? RuntimeError(.unavailable, "the engine is not there yet")
            }
            var description = try await first.describe()
            description.slots *= most
            return description
        }
        known.slots *= most
        return known
    }

    package func state() async -> EngineState {
        var states: [EngineState] = []
        for engine in engines.values { states.append(await engine.state()) }
        if states.contains(.ready) { return .ready }
        return states.first ?? .starting
    }

    package func load() async -> (waiting: Int, running: Int) { (scaler.queued, scaler.running) }

    package func memory() async -> Int? {
        var sum: Int?
        for engine in engines.values {
            if let bytes = await engine.memory() { sum = (sum ?? 0) + bytes }
        }
        return sum
    }

    package nonisolated func generate(_ request: GenerationRequest) -> GenerationStream {
        // It has a slot of one instance until its end.
        let answer = HeldAnswer(request) {
            let grant = try await self.acquire()
            return HeldAnswer.Hold(engine: grant.engine) { await self.release(grant.number) }
        }
        return GenerationStream { try await answer.next() }
    }

    package func embed(_ texts: [String]) async throws -> Embeddings { try await using { try await $0.embed(texts) } }

    package func countTokens(of messages: [Message], shape: AnswerShape) async throws -> Int? {
        // No slot is needed for it.
        guard let first = engines.min(by: { $0.key < $1.key })?.value else { return nil }
        return try await first.countTokens(of: messages, shape: shape)
    }

    private func using<Value: Sendable>(
        _ work: @Sendable (any InferenceEngine) async throws -> Value
    ) async throws -> Value {
        let grant = try await acquire()
        defer { release(grant.number) }
        return try await work(grant.engine)
    }

    // MARK: - Use

    /// Waits for a free slot; ``release(_:)`` must follow.
    func acquire() async throws -> Grant {
        requests += 1
        let request = requests
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                guard !Task.isCancelled else { return continuation.resume(throwing: CancellationError()) }
                waiting[request] = continuation
                perform(scaler.requested(request, at: clock.now))
            }
        } onCancel: {
            // As short as a step of the actor: nobody could wait for it here.
            Task { await self.abandon(request) }
        }
    }

    func release(_ number: InstanceScaler.Number) { perform(scaler.released(number, at: clock.now)) }

    private func abandon(_ request: InstanceScaler.Request) {
        guard let continuation = waiting.removeValue(forKey: request) else { return }
        continuation.resume(throwing: CancellationError())
        perform(scaler.abandoned(request, at: clock.now))
    }

    // MARK: - Actions

    private func perform(_ actions: [InstanceScaler.Action]) {
        for action in actions {
            switch action {
            case .admit(let request, let number):
                guard let continuation = waiting.removeValue(forKey: request), let engine = engines[number] else {
                    // It was cancelled at the same moment.
                    release(number)
                    continue
                }
                continuation.resume(returning: Grant(number: number, engine: engine))
            case .refuse(let request, let code):
                let message =
                    code == .overloaded
                    ? "\(scaler.queued) requests wait for \(name) already" : "the model \(name) is being stopped"
                waiting.removeValue(forKey: request)?.resume(
                    throwing: RuntimeError(code, message, retryAfter: .seconds(1)))
            case .start(let number): begin(number)
            case .stop(let number): end(number)
            }
        }
        Gauge(label: "igris_engine_instances", dimensions: [("model", name)]).record(scaler.count)
    }

    private func begin(_ number: InstanceScaler.Number) {
        do {
            let engine = try make()
            engines[number] = engine
            work[number] = Task { await self.run(engine, number) }
        } catch {
            failed(number, error)
        }
    }

    private func run(_ engine: any InferenceEngine, _ number: InstanceScaler.Number) async {
        await engine.start()
        do {
            let description = try await engine.describe()
            known = description
            if number > 1 {
                log.notice("another instance of a model runs", metadata: ["instances": "\(scaler.count)"])
            }
            perform(scaler.started(number, slots: description.slots, at: clock.now))
        } catch {
            failed(number, error)
        }
    }

    private func failed(_ number: InstanceScaler.Number, _ error: any Error) {
        failure = error as? RuntimeError
        log.error("an instance of a model could not be started", metadata: ["error": "\(error)"])
        perform(scaler.startFailed(number, at: clock.now))
    }

    private func end(_ number: InstanceScaler.Number) {
        guard let engine = engines.removeValue(forKey: number) else { return }
        let earlier = work[number]
        work[number] = Task {
            // A start that is on its way ends by this.
            await engine.stop()
            await earlier?.value
            self.forget(number)
        }
    }

    private func forget(_ number: InstanceScaler.Number) { work[number] = nil }
}
