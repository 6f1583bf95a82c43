package import Core
internal import Swarm
internal import Synchronization

/// The models of this host, by name and alias. They may come and go while it runs.
package final class Models: Sendable {
    /// Where a model comes from; only those that were not configured can be removed.
    package enum Source: String, Hashable, Sendable {
        case configured
        case added
        case copied
    }

    package struct Entry: Sendable {
        package var name: String
        package var aliases: [String]
        package var kind: String
        package let engine: QueuedEngine
        package var source = Source.configured
        /// What is known by now of the model's file.
        package var file: @Sendable () -> ModelFile?
        /// The model that answers while this one cannot.
        package var fallback: String?
        fileprivate var place: ModelShelf.Place?

        package init(
            name: String, aliases: [String], kind: String, engine: any InferenceEngine,
            file: @escaping @Sendable () -> ModelFile? = { nil }, fallback: String? = nil,
            queue: QueuedEngine.Policy = QueuedEngine.Policy()
        ) {
            self.name = name
            self.aliases = aliases
            self.kind = kind
            self.engine = QueuedEngine(engine, name: name, policy: queue)
            self.file = file
            self.fallback = fallback
        }

        package func isCalled(_ name: String) -> Bool { self.name == name || aliases.contains(name) }

        fileprivate var names: [String] { [name] + aliases }
    }

    /// How the engine of a model comes to be.
    package enum Making: Sendable {
        /// It runs all the time.
        case always(any InferenceEngine)
        /// It is loaded when it is asked for.
        case onDemand(LoadedModels.Recipe)
    }

    private struct State {
        var entries: [Entry] = []
        var places: ModelShelf.Place = 0
        /// What engines that run all the time took, by the model's name.
        var measured: [String: Int] = [:]
        var hasStarted = false
    }

    /// Whether they are to do no more work.
    package let drain = Drain()
    private let state = Mutex(State())
    private let loaded: LoadedModels?
    private let queue: QueuedEngine.Policy

    /// - Parameter queue: how requests wait for each of them.
    package init(
        _ entries: [Entry], loaded: LoadedModels? = nil, queue: QueuedEngine.Policy = QueuedEngine.Policy()
    ) {
        self.loaded = loaded
        self.queue = queue
        state.withLock { $0.entries = entries }
    }

    package var entries: [Entry] { state.withLock { $0.entries } }

    /// Throws ``RuntimeError`` `.modelNotFound` with the names that there are.
    package func entry(named name: String) throws(RuntimeError) -> Entry {
        let entries = entries
        if let entry = entries.first(where: { $0.isCalled(name) }) { return entry }
        let known = entries.flatMap(\.names).joined(separator: ", ")
        throw RuntimeError(
            .modelNotFound, "this host has no model '\(name.prefix(100))'; it has: \(known)",
            parameter: "model")
    }

    // MARK: Coming and going

    /// Takes a model in. Throws ``RuntimeError`` `.invalidRequest` where a name is taken, or there are too many.
    package func add(
        name: String, aliases: [String] = [], kind: String, source: Source = .configured, making: Making,
        file: @escaping @Sendable () -> ModelFile? = { nil }, fallback: String? = nil
    ) async throws(RuntimeError) {
        let place: ModelShelf.Place = state.withLock { state in
            state.places += 1
            return state.places
        }
        var entry: Entry
        switch making {
        case .onDemand(let recipe):
            guard let loaded else { throw RuntimeError(.internal, "there is no shelf for models") }
            entry = Entry(
                name: name, aliases: aliases, kind: kind, engine: EngineOnDemand(place: place, loaded: loaded),
                file: file, queue: queue)
            entry.place = place
            await loaded.add(recipe, at: place)
        case .always(let engine):
            entry = Entry(name: name, aliases: aliases, kind: kind, engine: engine, file: file, queue: queue)
        }
        entry.source = source
        entry.fallback = fallback
        let refusal: RuntimeError? = state.withLock { [entry] state in
            let taken = Set(state.entries.flatMap(\.names))
            if let name = entry.names.first(where: taken.contains) {
                return RuntimeError(
                    .invalidRequest, "there is a model '\(name.prefix(100))' here already; give this one another name",
                    parameter: "name")
            }
            guard state.entries.count < Limits.registeredModels else {
                return RuntimeError(
                    .invalidRequest, "this host has \(Limits.registeredModels) models: remove one first")
            }
            state.entries.append(entry)
            return nil
        }
        guard let refusal else {
            if entry.place == nil, state.withLock({ $0.hasStarted }) { await entry.engine.start() }
            return
        }
        if entry.place != nil { await loaded?.remove(place) }
        throw refusal
    }

    /// Takes a model out: running answers may end. Throws ``RuntimeError`` `.modelNotFound`, `.invalidRequest` for one
    /// of the configuration.
    package func remove(_ name: String) async throws(RuntimeError) -> Entry {
        let entry = try entry(named: name)
        guard entry.source != .configured else {
            throw RuntimeError(
                .invalidRequest,
                "the model '\(entry.name)' stands in the configuration: take it out of models in config.json5 and start "
                    + "the daemon again", parameter: "name")
        }
        state.withLock { state in
            state.entries.removeAll { $0.name == entry.name }
            state.measured[entry.name] = nil
        }
        if let place = entry.place { await loaded?.remove(place) } else { await entry.engine.stop() }
        return entry
    }

    // MARK: Life

    /// Starts the engines that run all the time, and loads the models that are wanted from the start.
    package func start() async {
        state.withLock { $0.hasStarted = true }
        await withTaskGroup(of: Void.self) { group in
            for entry in entries { group.addTask { [loaded] in await Self.start(entry, loaded) } }
        }
    }

    private static func start(_ entry: Entry, _ loaded: LoadedModels?) async {
        guard let place = entry.place, let loaded else { return await entry.engine.start() }
        guard await loaded.isWantedAtStart(place) else { return }
        // What fails is logged, shown, and tried again.
        guard (try? await loaded.acquire(place)) != nil else { return }
        await loaded.release(place, keepAlive: nil)
    }

    /// Ends all engines.
    package func stop() async {
        await withTaskGroup(of: Void.self) { group in
            if let loaded { group.addTask { await loaded.stop() } }
            for entry in entries where entry.place == nil { group.addTask { await entry.engine.stop() } }
        }
    }

    // MARK: Loading

    /// Loads a model and lets it stay for `keepAlive`, or lets it go; returns at once for one that runs all the time.
    /// Throws ``RuntimeError`` `.unavailable` where it is not loaded within `patience`; the load goes on.
    package func prepare(_ entry: Entry, keepAlive: KeepAlive?, patience: Duration?) async throws {
        guard let place = entry.place, let loaded else { return }
        if keepAlive == .unloaded { return await loaded.dismiss(place) }
        let hasCome = try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask {
                _ = try await loaded.acquire(place)
                await loaded.release(place, keepAlive: keepAlive)
                return true
            }
            if let patience {
                group.addTask {
                    try await Task.sleep(for: patience)
                    return false
                }
            }
            defer { group.cancelAll() }
            return try await group.next() ?? false
        }
        guard !hasCome else { return }
        throw RuntimeError(
            .unavailable, "the model \(entry.name) is still being loaded; ask again", retryAfter: .seconds(5))
    }

    /// Whether it answers without a load.
    package func isThere(_ entry: Entry) async -> Bool {
        guard let place = entry.place, let loaded else { return true }
        return await loaded.isLoaded(place)
    }

    /// Whether a request for it waits for its load.
    package func isLoading(_ entry: Entry) async -> Bool { await entry.engine.state() == .loading }

    // MARK: What pages show

    /// Looks at what the engines take, for the next ``statuses()``.
    package func measure() async {
        await loaded?.measure()
        for entry in entries where entry.place == nil {
            let bytes = await entry.engine.memory()
            state.withLock { $0.measured[entry.name] = bytes }
        }
    }

    package func statuses() async -> [ModelStatus] {
        var statuses: [ModelStatus] = []
        for entry in entries {
            let state = await entry.engine.state()
            let load = await entry.engine.load()
            // A description is shown only when it costs no wait.
            var description: EngineDescription?
            var memory: LoadedModels.Memory?
            if let place = entry.place, let loaded {
                description = await loaded.description(of: place)
                memory = await loaded.memory(of: place)
            } else if state == .ready {
                description = try? await entry.engine.describe()
            }
            var status = ModelStatus(
                name: entry.name, aliases: entry.aliases, engine: entry.kind, state: state,
                description: description, file: entry.file(), waiting: load.waiting, running: load.running,
                rates: entry.engine.rates)
            status.source = entry.source
            status.queued = entry.engine.waiting
            status.memory = memory?.bytes ?? self.state.withLock { $0.measured[entry.name] }
            status.estimate = memory?.estimate
            status.leavesIn = memory?.leavesIn
            statuses.append(status)
        }
        return statuses
    }
}
