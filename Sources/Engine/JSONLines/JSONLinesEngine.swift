package import Core
package import Logging

/// An engine that speaks our own protocol (docs/engine-protocol.md): one persistent child, JSON lines over its standard
/// input and output, many requests at once. The shell of ``Supervisor`` and ``RequestTable``.
package actor JSONLinesEngine: InferenceEngine {
    private enum Arrival: Sendable {
        case request(RequestID, AnswerMailbox, GenerationRequest)
        case abandoned(RequestID)
        case impatient(waiter: UInt64)
    }

    private struct Answer {
        var mailbox: AnswerMailbox
        var request: GenerationRequest
    }

    /// The child of the present generation.
    private struct Running {
        var process: ChildProcess
        var outbox: AsyncStream<[UInt8]>.Continuation
    }

    private typealias DescriptionWaiter = CheckedContinuation<EngineDescription, any Error>

    private let name: String
    private let kind: String
    private let command: [String]
    private let environment: [String: String]
    private let bounds: EngineBounds
    private let log: Logger
    private let clock = ContinuousClock()

    private var supervisor: Supervisor
    private var table: RequestTable
    private var answers: [RequestID: Answer] = [:]
    private var known: EngineDescription?
    private var running: Running?
    /// The generation that was given up, perhaps before its process was there.
    private var doomed: UInt64?
    private var waiters: [UInt64: DescriptionWaiter] = [:]
    private var waiterCount: UInt64 = 0

    private nonisolated let requestCounter = RequestCounter()
    private nonisolated let arrivals: AsyncStream<Arrival>.Continuation
    private let arrivalStream: AsyncStream<Arrival>
    /// Tasks of this shell: arrivals, the child, timers; kept to be cancelled.
    private var arrivalTask: Task<Void, Never>?
    private var childTask: Task<Void, Never>?
    private var timerTask: Task<Void, Never>?
    private var tickTask: Task<Void, Never>?

    /// - Parameters:
    ///   - name: The model's name, for the log.
    ///   - command: The program, by name or path, and its arguments.
    ///   - environment: All variables that the child gets besides a plain `PATH` and `LANG=C.UTF-8`.
    ///   - kind: The engine kind as the configuration names it.
    package init(
        name: String, command: [String], environment: [String: String] = [:], kind: String = "stdio",
        bounds: EngineBounds = EngineBounds(), log: Logger
    ) {
        self.name = name
        self.kind = kind
        self.command = command
        self.environment = environment
        self.bounds = bounds
        self.log = log
        supervisor = Supervisor(bounds: bounds)
        table = RequestTable(bounds: bounds)
        (arrivalStream, arrivals) = AsyncStream.makeStream()
    }

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
                    waiters[waiter] = continuation
                }
            }
        } onCancel: {
            arrivals.yield(.impatient(waiter: waiter))
        }
    }

    package func state() -> EngineState { supervisor.state(hasServed: known != nil, at: clock.now) }

    package func load() -> (waiting: Int, running: Int) { table.load }

    package nonisolated func generate(_ request: GenerationRequest) -> GenerationStream {
        let id = requestCounter.next()
        let mailbox = AnswerMailbox(unreadLimit: bounds.unreadBytes) { [arrivals] in
            arrivals.yield(.abandoned(id))
        }
        arrivals.yield(.request(id, mailbox, request))
        return mailbox.stream()
    }

    package func memory() async -> Int? {
        guard let process = running?.process else { return nil }
        return await ProcessTree.memory(ofSession: process.id)
    }

    package func stop() async {
        guard supervisor.phase != .stopped else { return }
        supervisor.stopped()
        let stopping = RuntimeError(.unavailable, "the model \(name) is being stopped")
        for answer in answers.values { answer.mailbox.fail(stopping) }
        answers = [:]
        resumeWaiters(.failure(stopping))
        timerTask?.cancel()
        tickTask?.cancel()
        // The end of its input tells the child to end; it gets a moment for it.
        running?.outbox.finish()
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
        case .request(let id, let mailbox, let request):
            if let error = refusal { return mailbox.fail(error) }
            guard request.messages.count <= Limits.jsonItems else {
                let error = RuntimeError(
                    .invalidRequest, "more than \(Limits.jsonItems) messages are too many", parameter: "messages")
                return mailbox.fail(error)
            }
            answers[id] = Answer(mailbox: mailbox, request: request)
            perform(table.requested(id, at: clock.now))
        case .abandoned(let id):
            answers[id] = nil
            perform(table.abandoned(id, at: clock.now))
        case .impatient(let waiter):
            waiters.removeValue(forKey: waiter)?.resume(throwing: CancellationError())
        }
    }

    /// Why requests are turned away at present, if they are.
    private var refusal: RuntimeError? { supervisor.refusal(of: name, at: clock.now) }

    private func perform(_ actions: [RequestTable.Action]) {
        for action in actions {
            switch action {
            case .generate(let id):
                guard let request = answers[id]?.request else { continue }
                running?.outbox.yield(EngineCommand.encode(generate: request, as: id))
                tickWhileRunning()
            case .cancel(let id):
                running?.outbox.yield(EngineCommand.encode(cancel: id))
            case .deliver(let id, let text):
                answers[id]?.mailbox.put(text)
            case .finish(let id, let reason, let usage):
                answers.removeValue(forKey: id)?.mailbox.finish(.success(.finished(reason: reason, usage: usage)))
            case .fail(let id, let error):
                answers.removeValue(forKey: id)?.mailbox.fail(error)
            case .condemn(let reason):
                perform(supervisor.condemned(generation: supervisor.generation, reason: reason))
            }
        }
    }

    private func tickWhileRunning() {
        guard tickTask == nil else { return }
        tickTask = Task { [tick = bounds.tick] in
            var pulse = Pulse()
            var beaten = clock.now
            while !Task.isCancelled, table.load.running > 0 {
                guard (try? await Task.sleep(for: tick)) != nil else { break }
                perform(table.ticked(at: clock.now) { answers[$0]?.mailbox.unreadBytes ?? 0 })
                guard clock.now - beaten >= bounds.beat else { continue }
                beaten = clock.now
                if pulse.beat(isAsked: table.isAsked(at: beaten), ticks: running?.process.ticks) {
                    perform(supervisor.condemned(generation: supervisor.generation, reason: Pulse.reason))
                }
            }
            tickTask = nil
        }
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
                running?.process.signal(.kill)
            case .schedule(let token, let delay):
                timerTask?.cancel()
                timerTask = Task {
                    guard (try? await clock.sleep(for: delay)) != nil else { return }
                    perform(supervisor.expired(token: token, at: clock.now))
                }
            case .refuseWaiting:
                guard let error = refusal else { continue }
                log.error(
                    "An engine failed too often and is left alone for a while",
                    metadata: ["model.name": "\(name)", "reason": "\(error.message)"])
                perform(table.refuseWaiting(error))
                resumeWaiters(.failure(error))
            }
        }
    }

    private func live(_ generation: UInt64) async {
        var reason: String
        do {
            let command = try ChildCommand(command, environment: environment)
            let exit = try await withChild(command, stderr: TailBuffer(), grace: bounds.grace) { process in
                await self.converse(with: process, generation: generation)
            }.exit
            reason = exit.description
        } catch {
            reason = (error as? RuntimeError)?.message ?? "it could not be run"
        }
        running = nil
        guard supervisor.phase != .stopped else { return }
        let wasReady = supervisor.phase == .ready
        let actions = supervisor.ended(generation: generation, reason: reason, at: clock.now)
        reason = supervisor.reason ?? reason
        log.warning(
            "An engine's child ended",
            metadata: ["model.name": "\(name)", "reason": "\(reason)", "ready": "\(wasReady)"])
        perform(table.childEnded(RuntimeError(.engineFailed, "the engine of \(name) ended in mid-answer: \(reason)")))
        perform(actions)
    }

    /// Writes what the outbox brings, reads lines until the child's output ends.
    private func converse(with process: ChildProcess, generation: UInt64) async {
        let (outgoing, outbox) = AsyncStream<[UInt8]>.makeStream()
        running = Running(process: process, outbox: outbox)
        if doomed == generation { process.signal(.kill) }
        if supervisor.phase == .stopped { outbox.finish() }
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                do {
                    for await line in outgoing { try await process.write(line) }
                } catch {
                    // The child has ended: the end of its output tells the rest.
                }
                await process.closeInput()
            }
            await self.read(process, generation: generation)
            outbox.finish()
            group.cancelAll()
        }
    }

    private func read(_ process: ChildProcess, generation: UInt64) async {
        var splitter = LineSplitter(limit: bounds.lineBytes)
        do {
            try await process.readOutput { bytes in
                for line in try splitter.append(bytes) where !line.isEmpty { try self.received(line, from: generation) }
                await self.holdBack(generation)
            }
        } catch {
            let reason = (error as? RuntimeError)?.message ?? "its output could not be read"
            perform(supervisor.condemned(generation: generation, reason: reason))
            // Should it have ended its output by itself, the signal is its end all the same.
            process.signal(.kill)
        }
    }

    /// Leaves the child's output in its pipe while its only answer has more unread than a reader may leave; the child
    /// then waits. Where several are being written, none is made to wait for another's reader: what is unread of one
    /// is bounded by ``Limits/engineOutputBytes`` then, and by ``Limits/streamStall``.
    private func holdBack(_ generation: UInt64) async {
        while generation == supervisor.generation, supervisor.phase == .ready, let id = table.only,
            let mailbox = answers[id]?.mailbox, mailbox.unreadBytes > bounds.unreadBytes
        {
            guard (try? await Task.sleep(for: .milliseconds(10))) != nil else { return }
        }
    }

    private func received(_ line: [UInt8], from generation: UInt64) throws(RuntimeError) {
        guard generation == supervisor.generation else { return }
        let message: EngineMessage
        do {
            message = try EngineMessage(line: line)
        } catch {
            // Programs like to greet: before the child is ready, what is no message is passed over.
            if supervisor.phase == .starting, line.first != UInt8(ascii: "{") { return }
            throw error
        }
        let now = clock.now
        switch message {
        case .ready(let ready): becameReady(ready, generation: generation)
        case .fatal(let message):
            throw RuntimeError(.engineFailed, "it gave up: \(message)")
        case .text(let id, let text):
            perform(table.wrote(id, text, unread: answers[id]?.mailbox.unreadBytes ?? 0, at: now))
        case .done(let id, let finish): perform(table.finished(id, finish, at: now))
        case .failed(let id, let error): perform(table.failed(id, error, at: now))
        case .other: break
        }
    }

    private func becameReady(_ ready: EngineMessage.Ready, generation: UInt64) {
        guard supervisor.phase == .starting else { return }
        supervisor.becameReady(generation: generation)
        let description = EngineDescription(
            kind: kind, fingerprint: ready.fingerprint, contextLength: ready.contextLength,
            tokenCost: ready.tokenCost, samplingFields: ready.samplingFields, capabilities: ready.capabilities,
            slots: ready.slots)
        known = description
        timerTask?.cancel()
        log.info("An engine is ready", metadata: ["model.name": "\(name)", "engine.slots": "\(ready.slots)"])
        resumeWaiters(.success(description))
        perform(table.childReady(slots: ready.slots, at: clock.now))
    }

    private func resumeWaiters(_ result: Result<EngineDescription, any Error>) {
        let waiting = waiters.values
        waiters = [:]
        for waiter in waiting { waiter.resume(with: result) }
    }
}
