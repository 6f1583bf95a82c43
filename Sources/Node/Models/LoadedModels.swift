package import Core
package import Logging
internal import Metrics

/// The shell of ``ModelShelf``: makes, starts, measures and ends the engines of the models that are loaded on demand.
package actor LoadedModels {
    /// How one model's engine comes to be. An engine that was stopped is made anew.
    package struct Recipe: Sendable {
        package var name: String
        package var keepAlive: KeepAlive
        package var loadsAtStart: Bool
        package var make: @Sendable () throws -> any InferenceEngine
        /// Bytes of memory that it will take; 0 where that is not known.
        package var estimate: @Sendable () async -> Int

        package init(
            name: String, keepAlive: KeepAlive, loadsAtStart: Bool,
            make: @escaping @Sendable () throws -> any InferenceEngine,
            estimate: @escaping @Sendable () async -> Int = { 0 }
        ) {
            self.name = name
            self.keepAlive = keepAlive
            self.loadsAtStart = loadsAtStart
            self.make = make
            self.estimate = estimate
        }
    }

    /// What pages show of one model's memory.
    package struct Memory: Hashable, Sendable {
        package var bytes: Int?
        /// What a load would take, or took.
        package var estimate: Int?
        /// When it goes if nobody asks for it; nil: it stays, or is in use.
        package var leavesIn: Duration?
    }

    private let log: Logger
    private let clock = ContinuousClock()
    private var shelf: ModelShelf
    private var recipes: [ModelShelf.Place: Recipe] = [:]
    private var engines: [ModelShelf.Place: any InferenceEngine] = [:]
    private var known: [ModelShelf.Place: EngineDescription] = [:]
    private var waiting: [ModelShelf.Request: CheckedContinuation<any InferenceEngine, any Error>] = [:]
    private var requestCount: ModelShelf.Request = 0
    private var isStopping = false
    /// Loads and unloadings on their way, and timers: kept to be waited for, or cancelled.
    private var work: [ModelShelf.Place: Task<Void, Never>] = [:]
    private var timers: [ModelShelf.Place: Task<Void, Never>] = [:]

    /// - Parameter budget: Bytes that all of them together may take.
    package init(budget: Int, log: Logger) {
        shelf = ModelShelf(budget: budget)
        self.log = log
        Gauge(label: "igris_models_memory_budget_bytes").record(budget)
    }

    // MARK: What is there

    func add(_ recipe: Recipe, at place: ModelShelf.Place) {
        recipes[place] = recipe
        shelf.added(
            place, name: recipe.name, keepAlive: recipe.keepAlive, loadsAtStart: recipe.loadsAtStart, at: clock.now)
    }

    func remove(_ place: ModelShelf.Place) { perform(shelf.removed(place, at: clock.now)) }

    /// Ends all engines; running answers fail.
    func stop() async {
        isStopping = true
        perform(shelf.stopped())
        for timer in timers.values { timer.cancel() }
        await withTaskGroup(of: Void.self) { group in
            for engine in engines.values { group.addTask { await engine.stop() } }
            for task in work.values { group.addTask { await task.value } }
        }
    }

    // MARK: Use

    /// Waits until the model is loaded; ``release(_:keepAlive:)`` must follow. Throws ``RuntimeError`` `.unavailable`
    /// with the reason why it cannot be, `.overloaded`.
    func acquire(_ place: ModelShelf.Place) async throws -> any InferenceEngine {
        var estimate = 0
        if shelf.books[place]?.phase != .loaded {
            estimate = await recipes[place]?.estimate() ?? 0
            await measure()
        }
        requestCount += 1
        let request = requestCount
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                guard !Task.isCancelled else { return continuation.resume(throwing: CancellationError()) }
                waiting[request] = continuation
                perform(shelf.requested(request, of: place, estimate: estimate, at: clock.now))
            }
        } onCancel: {
            // As short as a step of the actor: nobody could wait for it here.
            Task { await self.abandon(request, of: place) }
        }
    }

    func release(_ place: ModelShelf.Place, keepAlive: KeepAlive?) {
        perform(shelf.released(place, keepAlive: keepAlive, at: clock.now))
    }

    /// Lets the model go as soon as nobody uses it.
    func dismiss(_ place: ModelShelf.Place) { perform(shelf.dismissed(place, at: clock.now)) }

    private func abandon(_ request: ModelShelf.Request, of place: ModelShelf.Place) {
        guard let continuation = waiting.removeValue(forKey: request) else { return }
        shelf.abandoned(request, of: place)
        continuation.resume(throwing: CancellationError())
    }

    // MARK: What it is like

    func isLoaded(_ place: ModelShelf.Place) -> Bool { shelf.books[place]?.phase == .loaded }

    func isWantedAtStart(_ place: ModelShelf.Place) -> Bool { shelf.books[place]?.loadsAtStart == true }

    /// Nil until it was loaded once.
    func description(of place: ModelShelf.Place) -> EngineDescription? { known[place] }

    func state(of place: ModelShelf.Place) async -> EngineState {
        switch shelf.books[place]?.phase {
        case .loaded: return await engines[place]?.state() ?? .unloaded
        case .wanted, .loading: return .loading
        case .failed(let reason, let until):
            let seconds = (until - clock.now).components.seconds
            return .quarantined(reason: reason, retryAt: Timestamp.now().milliseconds / 1_000 + seconds)
        case .unloaded, .unloading, nil: return .unloaded
        }
    }

    func load(of place: ModelShelf.Place) async -> (waiting: Int, running: Int) {
        let load = await engines[place]?.load() ?? (waiting: 0, running: 0)
        return (load.waiting + (shelf.books[place]?.waiting.count ?? 0), load.running)
    }

    func memory(of place: ModelShelf.Place) -> Memory {
        guard let book = shelf.books[place] else { return Memory() }
        return Memory(
            bytes: book.measured > 0 ? book.measured : nil, estimate: book.estimate > 0 ? book.estimate : nil,
            leavesIn: book.expires.map { $0 - clock.now })
    }

    /// Looks at what the loaded ones take.
    func measure() async {
        for (place, engine) in engines {
            if let bytes = await engine.memory() { shelf.measured(place, bytes: bytes) }
        }
    }

    // MARK: Actions

    private func perform(_ actions: [ModelShelf.Action]) {
        for action in actions {
            switch action {
            case .admit(let request, let place):
                guard let continuation = waiting.removeValue(forKey: request), let engine = engines[place] else {
                    // It was cancelled at the same moment.
                    perform(shelf.released(place, keepAlive: nil, at: clock.now))
                    continue
                }
                continuation.resume(returning: engine)
            case .refuse(let request, let refusal):
                waiting.removeValue(forKey: request)?.resume(
                    throwing: RuntimeError(refusal.code, refusal.message, retryAfter: refusal.retryAfter))
            case .load(let place):
                work[place] = Task { await load(place) }
            case .unload(let place, let reason):
                let earlier = work[place]
                work[place] = Task {
                    await earlier?.value
                    await unload(place, reason)
                }
            case .schedule(let place, let token, let delay):
                timers[place]?.cancel()
                timers[place] = Task {
                    guard (try? await clock.sleep(for: delay)) != nil else { return }
                    perform(shelf.expired(place, token: token, at: clock.now))
                }
            case .forget(let place):
                timers.removeValue(forKey: place)?.cancel()
                recipes[place] = nil
                known[place] = nil
                work[place] = nil
            }
        }
    }

    private func load(_ place: ModelShelf.Place) async {
        guard let recipe = recipes[place], !isStopping else { return }
        let begin = clock.now
        do {
            let engine = try recipe.make()
            engines[place] = engine
            await engine.start()
            let description = try await engine.describe()
            known[place] = description
            let bytes = await engine.memory()
            Counter(label: "igris_model_loads_total", dimensions: [("model", recipe.name), ("result", "loaded")])
                .increment()
            log.notice(
                "a model is loaded",
                metadata: [
                    "model.name": "\(recipe.name)", "duration": "\(clock.now - begin)",
                    "memory.bytes": "\(bytes ?? 0)",
                ])
            perform(shelf.loaded(place, measured: bytes, at: clock.now))
        } catch {
            await engines.removeValue(forKey: place)?.stop()
            let reason = error as? RuntimeError
            Counter(label: "igris_model_loads_total", dimensions: [("model", recipe.name), ("result", "failed")])
                .increment()
            log.error(
                "a model could not be loaded", metadata: ["model.name": "\(recipe.name)", "error": "\(error)"])
            perform(
                shelf.loadFailed(
                    place, reason: reason?.message ?? "the model \(recipe.name) could not be loaded",
                    retryAfter: reason?.retryAfter ?? Limits.modelRetry, at: clock.now))
        }
    }

    private func unload(_ place: ModelShelf.Place, _ reason: ModelShelf.UnloadReason) async {
        let name = recipes[place]?.name ?? ""
        await engines.removeValue(forKey: place)?.stop()
        Counter(label: "igris_model_unloads_total", dimensions: [("model", name), ("reason", reason.rawValue)])
            .increment()
        log.notice("a model is unloaded", metadata: ["model.name": "\(name)", "reason": "\(reason.rawValue)"])
        perform(shelf.unloaded(place, at: clock.now))
    }
}
