package import Core
package import Logging

/// An engine of the kind `stdio`: `llama-completion`, or a program that behaves as it does, run once for each answer.
package actor CompletionEngine: InferenceEngine {
    private enum Arrival: Sendable {
        case request(RequestID, AnswerMailbox, GenerationRequest)
        case abandoned(RequestID)
    }

    private struct Answer {
        var mailbox: AnswerMailbox
        var request: GenerationRequest
        var control: RunControl
        var task: Task<Void, Never>?

        init(mailbox: AnswerMailbox, request: GenerationRequest, bounds: EngineBounds) {
            self.mailbox = mailbox
            self.request = request
            control = RunControl(mailbox: mailbox, bounds: bounds)
        }
    }

    private let name: String
    private let command: [String]
    private let environment: [String: String]
    private let modelPath: String
    private let contextLength: Int?
    private let template: String?
    private let threads: Int?
    private let bounds: EngineBounds
    private let log: Logger
    private let clock = ContinuousClock()

    private var queue: AdmissionQueue
    private var health: ProgramHealth
    private var answers: [RequestID: Answer] = [:]
    private var program: CompletionProgram?
    private var preparation: Task<CompletionProgram, any Error>?
    private var isStopped = false

    private nonisolated let requestCounter = RequestCounter()
    private nonisolated let arrivals: AsyncStream<Arrival>.Continuation
    private let arrivalStream: AsyncStream<Arrival>
    /// Kept to be cancelled, as the preparation and the tasks of the answers are.
    private var arrivalTask: Task<Void, Never>?

    /// - Parameters:
    ///   - name: The model's name, for the log.
    ///   - command: The program, by name or path, and arguments that stand before ours.
    ///   - environment: All variables that the program gets besides a plain `PATH` and `LANG=C.UTF-8`.
    ///   - contextLength: Tokens of prompt and answer; nil for what the model file says.
    ///   - template: The name of a chat template; nil to recognise the model file's own.
    ///   - threads: Nil for one below about 50 MB of weights, else all cores but one.
    ///   - slots: How many processes run at once; each holds a context of its own.
    package init(
        name: String, command: [String], environment: [String: String] = [:], modelPath: String,
        contextLength: Int? = nil, template: String? = nil, threads: Int? = nil, slots: Int = 1,
        bounds: EngineBounds = EngineBounds(), log: Logger
    ) {
        self.name = name
        self.command = command
        self.environment = environment
        self.modelPath = modelPath
        self.contextLength = contextLength
        self.template = template
        self.threads = threads
        self.bounds = bounds
        self.log = log
        queue = AdmissionQueue(slots: max(1, slots), maximumWaiting: bounds.waitingRequests)
        health = ProgramHealth(length: bounds.quarantine)
        (arrivalStream, arrivals) = AsyncStream.makeStream()
    }

    // MARK: The port

    package func start() {
        guard arrivalTask == nil, !isStopped else { return }
        arrivalTask = Task {
            for await arrival in arrivalStream { take(arrival) }
        }
        _ = prepare()
    }

    package func describe() async throws -> EngineDescription {
        if let refusal { throw refusal }
        return try await prepare().value.description
    }

    package func state() -> EngineState {
        if isStopped { return .stopped }
        if let quarantine = health.quarantine, clock.now < quarantine.until {
            return .quarantined(
                reason: quarantine.error.message, retryAt: WallClock.seconds(in: quarantine.until - clock.now))
        }
        return program == nil ? .starting : .ready
    }

    package func load() -> (waiting: Int, running: Int) { (queue.waiting.count, queue.running.count) }

    package nonisolated func generate(_ request: GenerationRequest) -> GenerationStream {
        let id = requestCounter.next()
        let mailbox = AnswerMailbox(unreadLimit: bounds.unreadBytes) { [arrivals] in
            arrivals.yield(.abandoned(id))
        }
        arrivals.yield(.request(id, mailbox, request))
        return mailbox.stream()
    }

    /// Of the answers that are being written: between them nothing is loaded.
    package func memory() async -> Int? {
        var sum: Int?
        for process in answers.values.compactMap({ $0.control.processID }) {
            if let bytes = await ProcessTree.memory(ofSession: process) { sum = (sum ?? 0) + bytes }
        }
        return sum
    }

    package func stop() async {
        guard !isStopped else { return }
        isStopped = true
        preparation?.cancel()
        let stopping = RuntimeError(.unavailable, "the model \(name) is being stopped")
        let tasks = answers.values.map(\.task)
        for answer in answers.values {
            answer.mailbox.fail(stopping)
            answer.control.interrupt()
        }
        for task in tasks { await task?.value }
        arrivals.finish()
        await arrivalTask?.value
    }

    // MARK: The program

    /// Begins to prepare the program, unless that has been done or goes on.
    private func prepare() -> Task<CompletionProgram, any Error> {
        if let preparation { return preparation }
        let task = Task {
            do {
                var program = try await CompletionProgram(
                    command: try ChildCommand(command, environment: environment), modelPath: modelPath,
                    contextLength: contextLength, template: template, threads: threads, deadline: bounds.readiness)
                program.description.slots = queue.slots
                self.program = program
                health.succeeded()
                log.info(
                    "An engine's program is ready",
                    metadata: ["model.name": "\(name)", "engine.fingerprint": "\(program.description.fingerprint)"])
                return program
            } catch {
                // The next one may try again when the quarantine is over.
                preparation = nil
                guard !isStopped, let reason = error as? RuntimeError else { throw error }
                let error = RuntimeError(.unavailable, reason.message, cause: reason)
                health.isolate(error, at: clock.now)
                log.error(
                    "An engine's program cannot be used",
                    metadata: ["model.name": "\(name)", "reason": "\(reason.message)"])
                throw error
            }
        }
        preparation = task
        return task
    }

    private var refusal: RuntimeError? {
        if isStopped { return RuntimeError(.unavailable, "the model \(name) is being stopped") }
        guard let refusal = health.refusal(at: clock.now) else { return nil }
        return RuntimeError(
            .unavailable, "the engine of \(name) is left alone for a while: \(refusal.message)",
            retryAfter: refusal.retryAfter)
    }

    // MARK: Requests

    private func take(_ arrival: Arrival) {
        switch arrival {
        case .request(let id, let mailbox, let request):
            if let refusal { return mailbox.fail(refusal) }
            switch queue.enter(id) {
            case .refused:
                mailbox.fail(
                    RuntimeError(
                        .overloaded, "\(queue.waiting.count) requests wait for this model already; try again later",
                        retryAfter: .seconds(1)))
            case .waits:
                answers[id] = Answer(mailbox: mailbox, request: request, bounds: bounds)
            case .runs:
                answers[id] = Answer(mailbox: mailbox, request: request, bounds: bounds)
                begin(id)
            }
        case .abandoned(let id):
            if queue.running.contains(id) {
                answers[id]?.control.interrupt()
            } else {
                queue.leave(id)
                answers[id] = nil
            }
        }
    }

    private func begin(_ id: RequestID) {
        answers[id]?.task = Task { await run(id) }
    }

    private func run(_ id: RequestID) async {
        guard let answer = answers[id] else { return }
        do {
            // It may have waited while another request found the program unusable.
            if let refusal { throw refusal }
            let program = try await prepare().value
            let run = CompletionRun(
                program: program, request: answer.request, mailbox: answer.mailbox, control: answer.control,
                bounds: bounds)
            let end = try await run.answer()
            health.succeeded()
            answer.mailbox.finish(.success(end))
        } catch {
            note(error)
            answer.mailbox.fail(error)
        }
        queue.leave(id)
        answers[id] = nil
        if !isStopped { queue.advance().forEach(begin) }
    }

    /// Counts what is the program's own failure.
    private func note(_ error: any Error) {
        guard let error = error as? RuntimeError, program != nil, refusal == nil,
            error.code == .engineFailed || error.code == .unavailable || error.code == .configuration
        else { return }
        log.warning("An engine's run failed", metadata: ["model.name": "\(name)", "reason": "\(error.message)"])
        guard health.failed(error, at: clock.now) else { return }
        log.error(
            "An engine failed too often and is left alone for a while",
            metadata: ["model.name": "\(name)", "reason": "\(error.message)"])
        for waiting in queue.waiting {
            queue.leave(waiting)
            answers.removeValue(forKey: waiting)?.mailbox.fail(refusal ?? error)
        }
    }
}
