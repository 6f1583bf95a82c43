package import Core
package import Logging
import NIOHTTP1
import Synchronization

/// An engine of the kind `llama-server`: one persistent child on a UNIX socket in a folder of its own, with a random key;
/// each answer is one request to it. The shell of ``Supervisor``, ``AdmissionQueue`` and ``SlotTable``.
package actor LlamaServerEngine: InferenceEngine {
    package struct Options: Sendable {
        /// The model's name, for the log and for messages.
        package var name: String
        /// The program, by name or path, and arguments that stand before ours; what they set, we do not.
        package var command: [String]
        /// All variables that the child gets besides a plain `PATH`, `LANG=C.UTF-8` and its key.
        package var environment: [String: String] = [:]
        package var modelPath: String
        /// Tokens of prompt and answer; nil for what the file allows, at most 8,192.
        package var contextLength: Int?
        /// Nil for one below about 50 MB of weights, else all cores but one.
        package var threads: Int?
        /// Answers at the same time; each has its own share of the memory.
        package var slots = 2
        /// Also makes embeddings.
        package var embeds = false
        /// Folders for the socket, the best first.
        package var socketPlaces: [String] = []
        /// Other hosts' programs that compute a part of the model; nil where this one does it all.
        package var workers: WorkerSource?

        package init(name: String, command: [String], modelPath: String) {
            self.name = name
            self.command = command
            self.modelPath = modelPath
        }
    }

    private enum Arrival: Sendable {
        case over(RequestID)
        case impatient(RequestID)
        case impatientDescription(waiter: UInt64)
    }

    /// Leave to ask the child.
    struct Grant: Sendable {
        var server: RunningServer
        var generation: UInt64
        var slot: Int?
    }

    private typealias DescriptionWaiter = CheckedContinuation<EngineDescription, any Error>

    private let options: Options
    private let bounds: EngineBounds
    private let log: Logger
    private let clock = ContinuousClock()

    private var supervisor: Supervisor
    private var queue: AdmissionQueue
    private var slots = SlotTable(count: 0)
    private var program: ServerProgram?
    private var known: EngineDescription?
    private var server: RunningServer?
    private var process: ChildProcess?
    /// The generation that was given up, perhaps before its process was there.
    private var doomed: UInt64?
    /// What was missing at the last attempt.
    private var lack: String?
    /// Requests that wait for their turn, with their conversations.
    private var waiting: [RequestID: (conversation: Bytes16?, continuation: CheckedContinuation<Grant, any Error>)] =
        [:]
    private var descriptionWaiters: [UInt64: DescriptionWaiter] = [:]
    private var waiterCount: UInt64 = 0

    private nonisolated let requestCounter = RequestCounter()
    private nonisolated let arrivals: AsyncStream<Arrival>.Continuation
    private let arrivalStream: AsyncStream<Arrival>
    /// Tasks of this shell, kept to be cancelled.
    private var arrivalTask: Task<Void, Never>?
    private var childTask: Task<Void, Never>?
    private var timerTask: Task<Void, Never>?

    package init(_ options: Options, bounds: EngineBounds = EngineBounds(), log: Logger) {
        self.options = options
        self.bounds = bounds
        self.log = log
        supervisor = Supervisor(bounds: bounds)
        queue = AdmissionQueue(slots: 0, maximumWaiting: bounds.waitingRequests)
        (arrivalStream, arrivals) = AsyncStream.makeStream()
    }

    private nonisolated var subject: String { "the engine of \(options.name)" }

    // MARK: The port

    package func start() {
        guard arrivalTask == nil, supervisor.phase == .idle else { return }
        arrivalTask = Task {
            for await arrival in arrivalStream { take(arrival) }
        }
        perform(supervisor.started(at: clock.now))
    }

    package func describe() async throws -> EngineDescription {
        if let error = refusal { throw error }
        if let known { return known }
        waiterCount += 1
        let waiter = waiterCount
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                if Task.isCancelled {
                    continuation.resume(throwing: CancellationError())
                } else {
                    descriptionWaiters[waiter] = continuation
                }
            }
        } onCancel: {
            arrivals.yield(.impatientDescription(waiter: waiter))
        }
    }

    package func state() -> EngineState { supervisor.state(hasServed: known != nil, at: clock.now) }

    package func load() -> (waiting: Int, running: Int) { (queue.waiting.count, queue.running.count) }

    package nonisolated func generate(_ request: GenerationRequest) -> GenerationStream {
        let id = requestCounter.next()
        let generation = Mutex<UInt64>(0)
        return AnswerSource.stream { isAgain in
            let grant = try await self.admit(
                id, of: request.affinity, after: isAgain ? generation.withLock { $0 } : nil)
            generation.withLock { $0 = grant.generation }
            return try await grant.server.ask(request, slot: grant.slot, bounds: self.bounds)
        } failure: { error, mayRetry in
            await self.meaning(of: error, in: generation.withLock { $0 }, mayRetry: mayRetry)
        } onEnd: { [arrivals] in
            arrivals.yield(.over(id))
        }
    }

    package func embed(_ texts: [String]) async throws -> Embeddings {
        guard options.embeds else {
            throw RuntimeError(
                .invalidRequest, "this model makes no embeddings; set \"embeddings: true\" in its entry if it can",
                parameter: "model")
        }
        let id = requestCounter.next()
        defer { arrivals.yield(.over(id)) }
        let grant = try await admit(id, of: nil, after: nil)
        do {
            return try await grant.server.embed(texts, bounds: bounds)
        } catch {
            throw await meaning(of: error, in: grant.generation, mayRetry: false) ?? error
        }
    }

    package func countTokens(of messages: [Message], shape: AnswerShape) async throws -> Int? {
        _ = try await describe()
        guard let server else { return nil }
        do {
            return try await server.count(messages, shape: shape, bounds: bounds)
        } catch {
            throw await meaning(of: error, in: supervisor.generation, mayRetry: false) ?? error
        }
    }

    package func memory() async -> Int? {
        guard let process else { return nil }
        return await ProcessTree.memory(ofSession: process.id)
    }

    package func stop() async {
        guard supervisor.phase != .stopped else { return }
        supervisor.stopped()
        let stopping = RuntimeError(.unavailable, "the model \(options.name) is being stopped")
        refuse(stopping)
        timerTask?.cancel()
        process?.signal(.interrupt)
        if let childTask {
            let grace = bounds.grace
            let killer = Task {
                try? await Task.sleep(for: grace)
                childTask.cancel()
            }
            await childTask.value
            killer.cancel()
        }
        arrivals.finish()
        await arrivalTask?.value
    }

    // MARK: Requests

    private func take(_ arrival: Arrival) {
        switch arrival {
        case .over(let id):
            queue.leave(id)
            slots.release(id)
            advance()
        case .impatient(let id):
            waiting.removeValue(forKey: id)?.continuation.resume(throwing: CancellationError())
        case .impatientDescription(let waiter):
            descriptionWaiters.removeValue(forKey: waiter)?.resume(throwing: CancellationError())
        }
    }

    /// Waits for the request's turn. `failed` is the child's generation that an earlier attempt lost.
    private func admit(_ id: RequestID, of conversation: Bytes16?, after failed: UInt64?) async throws -> Grant {
        try Task.checkCancellation()
        if let failed {
            slots.release(id)
            queue.postpone(id)
            await examine(failed)
        }
        if let error = refusal { throw error }
        if failed == nil, queue.enter(id) == .refused {
            throw RuntimeError(
                .overloaded, "\(queue.waiting.count) requests wait for this model already; try again later",
                retryAfter: .seconds(1))
        }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                if Task.isCancelled { return continuation.resume(throwing: CancellationError()) }
                waiting[id] = (conversation, continuation)
                if queue.running.contains(id) { grant(id) } else { advance() }
            }
        } onCancel: {
            arrivals.yield(.impatient(id))
        }
    }

    private func advance() {
        for id in queue.advance() { grant(id) }
    }

    private func grant(_ id: RequestID) {
        guard let server, let (conversation, continuation) = waiting.removeValue(forKey: id) else { return }
        let slot = slots.assign(conversation, to: id)
        continuation.resume(returning: Grant(server: server, generation: supervisor.generation, slot: slot))
    }

    /// Why requests are turned away at present, if they are.
    private var refusal: RuntimeError? { supervisor.refusal(of: options.name, at: clock.now) }

    private func refuse(_ error: RuntimeError) {
        for (id, (_, continuation)) in waiting {
            queue.leave(id)
            continuation.resume(throwing: error)
        }
        waiting = [:]
        resumeDescriptionWaiters(.failure(error))
    }

    /// Nil where another attempt may do better.
    private func meaning(of error: any Error, in generation: UInt64, mayRetry: Bool) async -> (any Error)? {
        if let error = error as? RuntimeError {
            // Silence may be the whole child's.
            if error.code == .timedOut || error.code == .engineFailed { await examine(generation) }
            return error
        }
        guard error is HTTPInbox.ConnectionLost || error is HTTPUpstream.Unreachable else { return error }
        if mayRetry, supervisor.phase != .stopped { return nil }
        if let refusal { return refusal }
        let reason = supervisor.reason.map { ": \($0)" } ?? ""
        return RuntimeError(
            .engineFailed, "\(subject) ended in the middle of its answer\(reason); try again", cause: error)
    }

    /// Whether a child that has failed a request still works at all; one that does not is ended.
    private func examine(_ generation: UInt64, within patience: Duration = .seconds(10)) async {
        guard generation == supervisor.generation, supervisor.phase == .ready, let server else { return }
        if await server.works(within: patience, bounds: bounds) { return }
        guard generation == supervisor.generation else { return }
        // Nobody is sent there any more: requests wait for the next one.
        self.server = nil
        queue.slots = 0
        perform(supervisor.condemned(generation: generation, reason: "it no longer answers"))
    }

    // MARK: The child

    private func perform(_ actions: [Supervisor.Action]) {
        for action in actions {
            switch action {
            case .launch(let generation):
                childTask = Task { await live(generation) }
            case .kill(let generation):
                guard generation == supervisor.generation else { continue }
                doomed = generation
                process?.signal(.kill)
            case .schedule(let token, let delay):
                timerTask?.cancel()
                timerTask = Task {
                    guard (try? await clock.sleep(for: delay)) != nil else { return }
                    perform(supervisor.expired(token: token, at: clock.now))
                }
            case .refuseWaiting:
                guard let error = refusal else { continue }
                if case .quarantined = supervisor.phase {
                    log.error(
                        "An engine failed too often and is left alone for a while",
                        metadata: ["model.name": "\(options.name)", "reason": "\(error.message)"])
                }
                refuse(error)
            }
        }
    }

    private func live(_ generation: UInt64) async {
        let reason: String
        do {
            let program = try await prepare()
            if let workers = options.workers {
                try program.requireWorkers()
                reason = try await borrow(workers, program, generation)
            } else {
                reason = await run(program, nil, generation)
            }
        } catch is Lack {
            return
        } catch {
            reason = (error as? RuntimeError)?.message ?? "it could not be run"
        }
        process = nil
        server = nil
        queue.slots = 0
        guard supervisor.phase != .stopped else { return }
        let wasReady = supervisor.phase == .ready
        let actions = supervisor.ended(generation: generation, reason: reason, at: clock.now)
        log.warning(
            "An engine's child ended",
            metadata: [
                "model.name": "\(options.name)", "reason": "\(supervisor.reason ?? reason)", "ready": "\(wasReady)",
            ])
        perform(actions)
    }

    /// The workers could not be had; that has been dealt with.
    private struct Lack: Error {}

    private func borrow(
        _ workers: WorkerSource, _ program: ServerProgram, _ generation: UInt64
    ) async throws -> String {
        do {
            return try await workers.borrow(program.build) { await self.run(program, $0, generation) }
        } catch {
            guard supervisor.phase != .stopped else { throw Lack() }
            let reason = (error as? RuntimeError)?.message ?? "its workers cannot be had"
            if reason != lack {
                lack = reason
                log.warning(
                    "An engine waits for workers on other hosts",
                    metadata: ["model.name": "\(options.name)", "reason": "\(reason)"])
            }
            perform(supervisor.lacked(generation: generation, reason: reason))
            throw Lack()
        }
    }

    /// Runs the child until it ends; returns why it did.
    private func run(_ program: ServerProgram, _ workers: BorrowedWorkers?, _ generation: UInt64) async -> String {
        lack = nil
        do {
            let socket = try ServerSocket(places: options.socketPlaces)
            defer { socket.remove() }
            let key = (0..<4).map { _ in String(UInt64.random(in: .min ... .max), radix: 36) }.joined()
            var program = program
            program.arguments.workers = workers?.addresses ?? []
            program.workerHosts = workers?.hosts ?? []
            var command = program.command.appending(program.arguments(socket: socket.path))
            command.environment["LLAMA_API_KEY"] = key
            let running = try RunningServer(
                name: options.name, program: program,
                upstream: HTTPUpstream(HTTPTarget(socket: socket.path), key: Secret(key)))
            let stderr = TailBuffer()
            let exit = try await withChild(command, stderr: stderr, grace: bounds.grace) { process in
                await self.tend(process, running, stderr, losses: workers?.losses, generation: generation)
            }.exit
            let report = CompletionReport(exit: exit, log: stderr.text)
                .failure(of: program.command.name, model: program.facts.fileName)
            return report.code == .engineFailed ? exit.description : report.message
        } catch {
            return (error as? RuntimeError)?.message ?? "it could not be run"
        }
    }

    private func prepare() async throws -> ServerProgram {
        if let program { return program }
        let made = try await ServerProgram(options, deadline: bounds.readiness)
        program = made
        return made
    }

    /// Waits until the server is ready, then until its output ends.
    private func tend(
        _ process: ChildProcess, _ running: RunningServer, _ stderr: TailBuffer, losses: AsyncStream<String>?,
        generation: UInt64
    ) async {
        self.process = process
        if doomed == generation { process.signal(.kill) }
        if supervisor.phase == .stopped { process.signal(.interrupt) }
        await process.closeInput()
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.awaitReadiness(running, stderr, generation: generation) }
            if let losses {
                group.addTask {
                    for await reason in losses { await self.condemn(generation, reason) }
                }
            } else {
                // One with workers waits for them.
                group.addTask { await self.watch(process, generation: generation) }
            }
            do {
                // Nothing of what it writes is wanted, but it must be able to write.
                try await process.readOutput { _ in }
            } catch {
                process.signal(.kill)
            }
            group.cancelAll()
        }
    }

    /// One that has done nothing for a while may wait for a slow reader: then it answers.
    private func watch(_ process: ChildProcess, generation: UInt64) async {
        var pulse = Pulse()
        while (try? await Task.sleep(for: bounds.beat)) != nil {
            guard pulse.beat(isAsked: !queue.running.isEmpty, ticks: process.ticks) else { continue }
            await examine(generation, within: .seconds(3))
        }
    }

    /// Without its workers it would wait for them for ever.
    private func condemn(_ generation: UInt64, _ reason: String) {
        guard generation == supervisor.generation else { return }
        server = nil
        queue.slots = 0
        perform(supervisor.condemned(generation: generation, reason: reason))
    }

    private func awaitReadiness(_ running: RunningServer, _ stderr: TailBuffer, generation: UInt64) async {
        var heard = 0
        while !Task.isCancelled, supervisor.phase == .starting {
            if let description = try? await running.examine(bounds: bounds) {
                return becameReady(running, description, generation: generation)
            }
            // A large model takes its time; as long as the program reports progress, it is not given up.
            if stderr.totalBytes > heard {
                heard = stderr.totalBytes
                perform(supervisor.progressed(generation: generation))
            }
            guard (try? await Task.sleep(for: .milliseconds(50))) != nil else { return }
        }
    }

    private func becameReady(_ running: RunningServer, _ description: EngineDescription, generation: UInt64) {
        guard supervisor.phase == .starting, generation == supervisor.generation else { return }
        supervisor.becameReady(generation: generation)
        timerTask?.cancel()
        server = running
        known = description
        let count = running.program.arguments.slots
        slots = SlotTable(count: count)
        queue.slots = count
        log.info("An engine is ready", metadata: ["model.name": "\(options.name)", "engine.slots": "\(count)"])
        resumeDescriptionWaiters(.success(description))
        advance()
    }

    /// The server's own numbers, for tests.
    func metrics() async throws -> String? {
        guard let server else { return nil }
        return String(decoding: try await server.upstream.send(.GET, "/metrics", bounds: bounds).body, as: UTF8.self)
    }

    private func resumeDescriptionWaiters(_ result: Result<EngineDescription, any Error>) {
        let waiters = descriptionWaiters.values
        descriptionWaiters = [:]
        for waiter in waiters { waiter.resume(with: result) }
    }
}
