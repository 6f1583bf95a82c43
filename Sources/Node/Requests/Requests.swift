package import Core
package import Logging
internal import Metrics
package import Swarm

/// Requests that are answered in the background: the shell of ``RequestKeeper``. Reads the notes of all hosts from the
/// log, runs what is this host's, and writes what came of it.
package actor Requests {
    private static let look = Duration.milliseconds(50)
    /// How long a client waits for other hosts to have its request.
    private static let replication = Duration.seconds(1)
    /// Written at the same time; more wait, by their priority.
    static let runs = 64
    /// So long after its note what was asked may still be on its way to this host's store; then it was deleted.
    private static let patience = Duration.seconds(5)
    /// Open at the same time, of all hosts; more are refused.
    private static let most = 2_048

    private struct Waiting {
        var request: Dot
        var attempt: Int
        var priority: Ticket.Priority
        var number: Int
    }

    let node: NodeID
    let instance: InstanceID
    let conversations: Conversations
    let writer: LogWriter
    let dispatcher: Dispatcher
    private let alone: Dispatcher
    let members: @Sendable () async -> [HostReport]
    let wallClock: @Sendable () -> UInt64
    private let log: Logger
    private let metrics = RequestMetrics()

    var keeper: RequestKeeper
    /// Of the hosts that were ever met.
    var names: [NodeID: String] = [:]
    private var newsNumber: UInt64 = 0
    private var waiting: [Waiting] = []
    private var numbers = 0
    private var running: [Dot: (run: RequestRun?, task: Task<Void, Never>)] = [:]
    /// Stopped before they had begun.
    private var stops: [Dot: RequestKeeper.Stop] = [:]
    /// Their results are being written.
    private var ending: Set<Dot> = []
    private var progresses: [Dot: RequestProgress] = [:]
    private var isStopping = false
    private let start = ContinuousClock.now

    /// - Parameters:
    ///   - alone: as `dispatcher`, but what it begins does not go on elsewhere.
    ///   - members: everyone in the swarm, this host too.
    package init(
        node: NodeID, instance: InstanceID, conversations: Conversations, writer: LogWriter, dispatcher: Dispatcher,
        alone: Dispatcher, members: @escaping @Sendable () async -> [HostReport],
        wallClock: @escaping @Sendable () -> UInt64, log: Logger, tuning: RequestKeeper.Tuning = .init()
    ) {
        self.node = node
        self.instance = instance
        self.conversations = conversations
        self.writer = writer
        self.dispatcher = dispatcher
        self.alone = alone
        self.members = members
        self.wallClock = wallClock
        self.log = log
        keeper = RequestKeeper(node: node, instance: instance, tuning: tuning)
    }

    private var now: Duration { ContinuousClock.now - start }

    /// Keeps requests until the task is cancelled. What runs then is left to other hosts, or to the next start.
    package func run() async {
        await readAgain()
        var round = 0
        while !Task.isCancelled {
            await catchUp()
            if round % 5 == 0 { await lookAtMembers() }
            perform(keeper.ticked(at: now, wall: wallClock()))
            metrics.open.record(keeper.open)
            round += 1
            // Cancelled with the run.
            try? await Task.sleep(for: Self.look)
        }
        isStopping = true
        for each in running.values { each.task.cancel() }
        for progress in progresses.values { progress.close() }
    }

    private func lookAtMembers() async {
        let hosts = await members()
        for host in hosts { if let id = host.id { names[id] = host.name } }
        let living = hosts.filter { $0.isSelf || $0.state == .alive || $0.state == .suspect }.compactMap(\.id)
        perform(keeper.members(Set(living), at: now, wall: wallClock()))
    }

    func catchUp() async {
        let news = await writer.news(since: newsNumber)
        guard news.next > newsNumber else { return }
        guard let operations = news.operations else { return await readAgain() }
        newsNumber = news.next
        take(operations)
    }

    /// Of requests that are open none is older than ``RequestNote/longest``.
    private func readAgain() async {
        newsNumber = await writer.news(since: newsNumber).next
        let today = RequestNote.day(ofMilliseconds: wallClock())
        for day in (today > 0 ? today - 1 : 0)...(today + 1) {
            do {
                take(try await conversations.store.operations(of: RequestNote.stream(ofDay: day)))
            } catch {
                log.warning("requests of a day could not be read", metadata: ["error": "\(error)"])
            }
        }
    }

    func take(_ operations: [Operation]) {
        let notes = operations.filter { $0.kind == .request }
        guard !notes.isEmpty else { return }
        perform(keeper.noted(notes, at: now, wall: wallClock()))
        for note in notes {
            let request = (try? RequestNote.decode(note.body))?.request ?? note.dependencies.first
            if let request { progresses[request]?.changed() }
        }
    }

    func requireRoom() throws(RuntimeError) {
        guard keeper.open < Self.most else {
            throw RuntimeError(.overloaded, "too many requests are open in the swarm; try again later")
        }
    }

    /// Until so many other hosts hold an operation, or a moment has passed. Returns how many stores have it.
    func replicated(_ dot: Dot, to count: Int) async -> Int {
        let others = await members().count { !$0.isSelf && $0.state == .alive }
        let wanted = min(count, others)
        let end = ContinuousClock.now + Self.replication
        while true {
            let holders = await writer.holders(of: dot).count
            // A client that has gone waits for nothing; its request stands all the same.
            guard holders < wanted, .now < end, !Task.isCancelled else { return 1 + holders }
            try? await Task.sleep(for: .milliseconds(10))
        }
    }

    // MARK: - Effects

    private func perform(_ effects: [RequestKeeper.Effect]) {
        guard !isStopping else { return }
        for effect in effects {
            switch effect {
            case .run(let request, let attempt): Task { await self.admit(request, attempt) }
            case .stop(let request, let why): stop(request, why)
            case .take(let request, let attempt):
                log.notice(
                    "a request is run again: the host that ran it is gone",
                    metadata: ["request.attempt": "\(attempt)"])
                metrics.reruns.increment()
                Task { await self.note(.taken, of: request, attempt: attempt) }
            case .end(let request, let ending): Task { await self.end(request, Self.result(of: ending)) }
            }
        }
    }

    private static func result(of ending: RequestKeeper.Ending) -> RequestResult {
        switch ending {
        case .cancelled: RequestResult(.cancelled, finishReason: .aborted)
        case .expired: .failed("deadline_exceeded", "its deadline came before it was answered")
        case .abandoned: .failed("hosts_lost", "every host that ran it was lost; it is not run again")
        }
    }

    @discardableResult
    func note(_ kind: RequestNote.Kind, of request: Dot, attempt: Int) async -> Bool {
        guard let record = keeper.record(request) else { return false }
        let note = RequestNote(kind, of: request, instance: instance, attempt: attempt)
        do {
            take(try await conversations.noteRequest(note, after: record.opened, in: record.stream))
            return true
        } catch {
            log.warning("a note about a request could not be written", metadata: ["error": "\(error)"])
            return false
        }
    }

    private func admit(_ request: Dot, _ attempt: Int) async {
        let priority = (try? await conversations.keptRequest(request, of: nil))?.order.priority ?? .normal
        numbers += 1
        waiting.append(Waiting(request: request, attempt: attempt, priority: priority, number: numbers))
        beginWaiting()
    }

    private func beginWaiting() {
        while running.count < Self.runs, !isStopping,
            let index = waiting.indices.min(by: {
                (waiting[$0].priority, waiting[$0].number) < (waiting[$1].priority, waiting[$1].number)
            })
        {
            let next = waiting.remove(at: index)
            running[next.request] = (nil, Task { await self.answer(next.request, next.attempt) })
        }
    }

    private func stop(_ request: Dot, _ why: RequestKeeper.Stop) {
        if let index = waiting.firstIndex(where: { $0.request == request }) {
            waiting.remove(at: index)
            // The keeper has its end written where it was not taken over.
            return keeper.ranOut(request)
        }
        guard let one = running[request] else { return }
        if why == .superseded { return one.task.cancel() }
        stops[request] = why
        if let run = one.run { Task { await run.stop(why) } }
    }

    private func answer(_ request: Dot, _ attempt: Int) async {
        defer {
            running[request] = nil
            stops[request] = nil
            keeper.ranOut(request)
            progresses[request]?.changed()
            if progresses[request]?.isWatched == false { progresses[request] = nil }
            beginWaiting()
        }
        do {
            let kept = try await settled(request)
            await note(.began, of: request, attempt: attempt)
            let run = RequestRun(
                kept.order, kept.messages, of: kept.owner, dispatcher: dispatcher, alone: alone,
                progress: progress(of: request),
                wallClock: wallClock)
            running[request]?.run = run
            if let why = stops[request] { await run.stop(why) }
            guard let result = await run.result(), !Task.isCancelled else { return }
            await end(request, result)
        } catch let error as RuntimeError where error.code == .notFound {
            // It was deleted: nobody wants it.
            await end(request, Self.result(of: .cancelled))
        } catch {
            log.warning("a request could not be read", metadata: ["error": "\(error)"])
            // The keeper asks again; not at once.
            try? await Task.sleep(for: .seconds(1))
        }
    }

    /// What was asked. It is acknowledged once a peer's store has it, which may be sooner than this host's own.
    private func settled(_ request: Dot) async throws -> Conversations.KeptRequest {
        let deadline = ContinuousClock.now + Self.patience
        while true {
            do {
                return try await conversations.keptRequest(request, of: nil)
            } catch let error as RuntimeError where error.code == .notFound && ContinuousClock.now < deadline {
                try await Task.sleep(for: .milliseconds(20))
            }
        }
    }

    /// Writes a result. Tries again until the disk takes it, or somebody else's stands.
    private func end(_ request: Dot, _ result: RequestResult) async {
        guard ending.insert(request).inserted else { return }
        defer { ending.remove(request) }
        while !Task.isCancelled, !isStopping, let record = keeper.record(request), record.isOpen {
            let attempt = record.holder?.number ?? 1
            let note = RequestNote(.ended, of: request, instance: instance, attempt: attempt)
            do {
                let trace = trace(of: record) + [event("ended", wallClock(), node, result.status.rawValue)]
                let outcome = Turn.Outcome(
                    finishReason: result.finishReason, usage: result.usage, model: result.model)
                take(
                    try await conversations.endRequest(
                        request, with: Message(.assistant, result.text), outcome,
                        annotation: result.annotation(trace: .array(trace)), note: note, in: record.stream))
                metrics.count(result.status)
                return
            } catch let error as RuntimeError where error.code == .notFound {
                // What was asked is deleted: only the note is left to write.
                await self.note(.ended, of: request, attempt: attempt)
                return
            } catch {
                log.error("a request's result could not be written", metadata: ["error": "\(error)"])
                // Cancelled with the run.
                try? await Task.sleep(for: .seconds(1))
            }
        }
    }

    // MARK: - Watching

    func progress(of request: Dot) -> RequestProgress {
        if let progress = progresses[request] { return progress }
        let progress = RequestProgress()
        // Those that nobody looks at any more go.
        for (other, progress) in progresses where running[other] == nil && !progress.isWatched {
            progresses[other] = nil
        }
        progresses[request] = progress
        return progress
    }

    func watched(_ request: Dot) -> RequestProgress? { progresses[request] }

    // MARK: - The trace

    /// What the notes tell, in their order.
    func trace(of record: RequestRecord) -> [JSON] {
        var trace = [event("opened", record.openedAt.milliseconds, record.opened.origin.node, nil)]
        for attempt in record.attempts.sorted(by: { ($0.number, $0.timestamp) < ($1.number, $1.timestamp) }) {
            if attempt.number > 1 {
                trace.append(
                    event(
                        "rerun", attempt.timestamp.milliseconds, attempt.node,
                        "the host that ran it was lost, and what it had done is not known"))
            }
            if let began = attempt.began { trace.append(event("began", began.milliseconds, attempt.node, nil)) }
        }
        if let cancelled = record.cancelled {
            trace.append(event("cancelled", cancelled.timestamp.milliseconds, cancelled.note.origin.node, nil))
        }
        return trace
    }

    private func event(_ name: String, _ at: UInt64, _ node: NodeID, _ detail: String?) -> JSON {
        var object = JSON.Object()
        object["event"] = .string(name)
        object["at"] = .string(Timestamp(since1970: at).description)
        object["node"] = .string(node.description)
        object["name"] = .string(names[node])
        if let detail { object["detail"] = .string(detail) }
        return .object(object)
    }
}

/// The instruments of ``Requests``.
struct RequestMetrics: Sendable {
    let open = Gauge(label: "igris_requests_open")
    let reruns = Counter(label: "igris_request_reruns_total")
    private let ended = Dictionary(
        uniqueKeysWithValues: [RequestResult.Status.completed, .failed, .cancelled].map {
            ($0, Counter(label: "igris_requests_total", dimensions: [("status", $0.rawValue)]))
        })

    func count(_ status: RequestResult.Status) { ended[status]?.increment() }
}
