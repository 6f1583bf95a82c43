package import Core
package import Logging
internal import Metrics
internal import Swarm

/// Lets other hosts of the swarm use this one's engines, and stands by for their answers. What they ask is never passed
/// on further.
package struct WorkDesk: Sendable {
    private let models: Models
    private let answers: LiveAnswers
    private let hasOther: @Sendable (_ model: String) async -> Bool
    private let log: Logger

    /// - Parameter hasOther: whether another host could do what is asked of this one.
    package init(
        models: Models, answers: LiveAnswers, hasOther: @escaping @Sendable (_ model: String) async -> Bool, log: Logger
    ) {
        self.models = models
        self.answers = answers
        self.hasOther = hasOther
        self.log = log
    }

    /// Serves those links until the task is cancelled.
    package func run(_ links: AsyncStream<any PeerLink>) async {
        await withDiscardingTaskGroup { group in
            for await link in links {
                group.addTask { await WorkSession(link, models, answers, hasOther, log).run() }
            }
            group.cancelAll()
        }
    }
}

/// One link on which another host asks: the shell of ``WorkTable``.
private actor WorkSession {
    private let link: any PeerLink
    private let models: Models
    private let answers: LiveAnswers
    private let hasOther: @Sendable (_ model: String) async -> Bool
    private let log: Logger
    private let asked = Counter(label: "igris_forwarded_requests_total", dimensions: [("direction", "in")])
    private var table = WorkTable()
    private var tasks: [UInt64: Task<Void, Never>] = [:]
    /// Answers whose reader is behind.
    private var waiting: [UInt64: CheckedContinuation<Void, Never>] = [:]
    /// Answers that this host stands by for.
    private var standing: [UInt64: Dot] = [:]

    init(
        _ link: any PeerLink, _ models: Models, _ answers: LiveAnswers,
        _ hasOther: @escaping @Sendable (_ model: String) async -> Bool, _ log: Logger
    ) {
        self.link = link
        self.models = models
        self.answers = answers
        self.hasOther = hasOther
        self.log = log
    }

    func run() async {
        do {
            for try await bytes in link.messages() {
                guard let message = try WorkMessage.decode(bytes) else { continue }
                await perform(table.received(message))
            }
        } catch let error as RuntimeError {
            log.warning(
                "a peer sent something that is no message",
                metadata: ["peer.id": "\(link.peer.node)", "link.channel": "work", "error": "\(error)"])
        } catch {
            log.debug("link broke", metadata: ["peer.id": "\(link.peer.node)", "error": "\(error)"])
        }
        link.close()
        for id in tasks.keys { stop(id) }
        for question in standing.values { await answers.desk.lostLink(question, of: link.peer.node) }
    }

    private func perform(_ actions: [WorkTable.Action]) async {
        for action in actions {
            switch action {
            case .send(let message): link.send(message.encoded)
            case .begin(let id, _, .standBy(let request)): await standBy(id, request)
            case .begin(let id, let model, let work): tasks[id] = Task { await self.work(id, model, work) }
            case .more(let id, let event):
                guard let question = standing[id] else { continue }
                await answers.desk.more(event, of: question, from: link.peer.node)
            case .cancel(let id):
                stop(id)
                if let question = standing.removeValue(forKey: id) {
                    await answers.desk.release(question, by: link.peer.node)
                }
            case .resume(let id): waiting.removeValue(forKey: id)?.resume()
            case .condemn(let reason):
                log.warning(
                    "a peer breaks the rules of work",
                    metadata: ["peer.id": "\(link.peer.node)", "reason": "\(reason)"])
                link.close()
            }
        }
    }

    private func stop(_ id: UInt64) {
        tasks.removeValue(forKey: id)?.cancel()
        waiting.removeValue(forKey: id)?.resume()
    }

    /// At once, and in the order of the messages: what comes of the answer follows.
    private func standBy(_ id: UInt64, _ request: StandbyRequest) async {
        do {
            try await answers.desk.standBy(for: request, of: link.peer.node)
            standing[id] = request.question
        } catch {
            link.send(WorkMessage.failed(id, WorkFailure(error)).encoded)
            table.ended(id)
        }
    }

    // MARK: Work

    private func work(_ id: UInt64, _ model: String, _ work: Work) async {
        do {
            switch work {
            case .describe: try await reply(id, .description(try await engine(model).describe()))
            case .generate(let request):
                asked.increment()
                try await answer(try engine(model).generate(request), id, of: model)
            case .embed(let texts):
                asked.increment()
                try await reply(id, .embeddings(try await engine(model).embed(texts)))
            case .count(let messages, let shape):
                try await reply(id, .count(try await engine(model).countTokens(of: messages, shape: shape)))
            case .find(let question): try await reply(id, .found(await answers.facts(of: question)))
            case .follow(let question):
                guard let events = await answers.follow(question) else {
                    throw RuntimeError(.unavailable, "this answer is not written here")
                }
                try await answer(GenerationStream(events), id)
            case .standBy: break  // above
            }
        } catch is CancellationError {
            // The asker has given it up, or the link is gone.
        } catch {
            let error =
                error as? RuntimeError ?? RuntimeError(.internal, "the request failed on the host that was asked")
            link.send(WorkMessage.failed(id, WorkFailure(error)).encoded)
        }
        table.ended(id)
        tasks[id] = nil
    }

    private func engine(_ model: String) throws -> any InferenceEngine { try models.entry(named: model).engine }

    /// - Parameter model: of this host, which gives the answer away when it is being emptied; nil: it is read along.
    private func answer(_ events: GenerationStream, _ id: UInt64, of model: String? = nil) async throws {
        if let model { try await checkDrain(model) }
        for try await event in events {
            if let model { try await checkDrain(model) }
            try await send(.event(id, event), of: id)
            if case .finished = event { return }
        }
        try Task.checkCancellation()
        throw RuntimeError(.engineFailed, "the engine ended in the middle of its answer; try again")
    }

    /// Throws where the asker shall turn to another host.
    private func checkDrain(_ model: String) async throws {
        if models.drain.isOn, await hasOther(model) { throw Drain.refusal }
    }

    private func reply(_ id: UInt64, _ result: WorkResult) async throws {
        try await send(.result(id, result), of: id)
    }

    /// Waits where the reader, or the link, is behind.
    private func send(_ message: WorkMessage, of id: UInt64) async throws {
        let bytes = message.encoded
        guard bytes.count <= Limits.linkMessageBytes else {
            throw RuntimeError(.tooLarge, "a part of the answer has \(bytes.count) bytes, more than a message may have")
        }
        while link.queuedBytes > Limits.workQueueBytes { try await Task.sleep(for: .milliseconds(5)) }
        if table.isFull(id) { await withCheckedContinuation { waiting[id] = $0 } }
        try Task.checkCancellation()
        table.sent(id, bytes.count)
        link.send(bytes)
    }
}
