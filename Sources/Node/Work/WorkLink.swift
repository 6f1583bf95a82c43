import Core
internal import Swarm

/// One link on which this host asks another's engines: the shell of ``WorkLedger``. It closes itself once nothing has
/// been asked for ``Limits/workIdle``.
actor WorkLink {
    /// An event, and what its message weighed.
    private typealias Piece = (event: GenerationEvent, bytes: Int)

    private let link: any PeerLink
    private let start = ContinuousClock.now
    private var ledger = WorkLedger(at: .zero)
    private var answers: [UInt64: AsyncThrowingStream<Piece, any Error>.Continuation] = [:]
    private var replies: [UInt64: CheckedContinuation<WorkResult, any Error>] = [:]
    private var descriptions: [String: EngineDescription] = [:]
    /// Why nothing more can be asked.
    private var end: RuntimeError?
    private var tasks: [Task<Void, Never>] = []

    init(_ link: any PeerLink) { self.link = link }

    private var now: Duration { ContinuousClock.now - start }

    var isOver: Bool { end != nil }

    /// To be called once.
    func begin() {
        tasks = [
            Task { await self.read() },
            Task {
                while (try? await Task.sleep(for: Limits.workPing)) != nil { self.tick() }
            },
        ]
    }

    // MARK: Asking

    func describe(_ model: String) async throws -> EngineDescription {
        if let known = descriptions[model] { return known }
        guard case .description(let description) = try await ask(.describe, of: model) else { throw Self.nonsense }
        descriptions[model] = description
        return description
    }

    /// Throws ``RuntimeError``: the other host's, or `.unavailable` with ``HostGone``.
    func ask(_ work: Work, of model: String) async throws -> WorkResult {
        let id = try await submit(work, model)
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                if let end { return continuation.resume(throwing: end) }
                if Task.isCancelled {
                    perform(ledger.abandoned(id, at: now))
                    return continuation.resume(throwing: CancellationError())
                }
                replies[id] = continuation
            }
        } onCancel: {
            Task { await self.giveUp(id) }
        }
    }

    /// Begins an answer; the stream's end, or its reader's, ends the work on it.
    func stream(_ work: Work, of model: String) async throws -> GenerationStream {
        let id = try await submit(work, model)
        // What waits here is bounded by the window of the link.
        let (pieces, continuation) = AsyncThrowingStream<Piece, any Error>.makeStream()
        answers[id] = continuation
        continuation.onTermination = { reason in
            guard case .cancelled = reason else { return }
            Task { await self.giveUp(id) }
        }
        let reader = PieceReader(pieces.makeAsyncIterator())
        return GenerationStream {
            guard let piece = try await reader.next() else { return nil }
            await self.consumed(id, piece.bytes)
            return piece.event
        }
    }

    // MARK: Standing by

    /// Asks the other host to stand by for an answer. Throws as ``ask(_:of:)`` does; a refusal is told by
    /// ``tell(_:of:)``.
    func standBy(for request: StandbyRequest) async throws -> UInt64 {
        try await submit(.standBy(request), request.model)
    }

    /// Tells more of that answer. False where the other host stands by for it no longer.
    func tell(_ events: [GenerationEvent], of id: UInt64) -> Bool {
        // What the link cannot carry now is not piled up: the answer is told of anew.
        guard end == nil, ledger.isOpen(id), link.queuedBytes <= Limits.workQueueBytes else { return false }
        for event in events { link.send(WorkMessage.more(id, event).encoded) }
        return true
    }

    func release(_ id: UInt64) { perform(ledger.abandoned(id, at: now)) }

    private func submit(_ work: Work, _ model: String) async throws -> UInt64 {
        while end == nil, link.queuedBytes > Limits.workQueueBytes { try await Task.sleep(for: .milliseconds(5)) }
        if let end { throw end }
        guard let (id, actions) = ledger.asked(work, of: model, at: now) else {
            throw RuntimeError(.overloaded, "too many requests are open on a peer; try again later")
        }
        for case .send(let message) in actions {
            let bytes = message.encoded
            guard bytes.count <= Limits.linkMessageBytes else {
                perform(ledger.abandoned(id, at: now))
                throw RuntimeError(
                    .tooLarge,
                    "the request has \(bytes.count) bytes and must be answered by another host, which takes "
                        + "\(Limits.linkMessageBytes); ask a host that has the model itself")
            }
            link.send(bytes)
        }
        return id
    }

    private func consumed(_ id: UInt64, _ bytes: Int) { perform(ledger.consumed(id, bytes)) }

    private func giveUp(_ id: UInt64) {
        answers[id] = nil
        replies.removeValue(forKey: id)?.resume(throwing: CancellationError())
        perform(ledger.abandoned(id, at: now))
    }

    // MARK: The link

    private func read() async {
        do {
            for try await bytes in link.messages() {
                guard let message = try WorkMessage.decode(bytes) else { continue }
                perform(ledger.received(message, bytes: bytes.count, at: now))
            }
            over(isSilent: false, "the host that was asked has closed the link")
        } catch let error as RuntimeError {
            over(isSilent: false, "the host that was asked sent something that is no message: \(error.message)")
        } catch {
            over(isSilent: false, "the host that was asked is gone")
        }
    }

    private func tick() {
        perform(ledger.ticked(at: now))
        if ledger.isIdle, now - ledger.idleSince > Limits.workIdle { over(isSilent: false, "the link was not used") }
    }

    private func perform(_ actions: [WorkLedger.Action]) {
        for action in actions {
            switch action {
            case .send(let message): link.send(message.encoded)
            case .deliver(let id, let event, let bytes): answers[id]?.yield((event, bytes))
            case .finish(let id, let result): replies.removeValue(forKey: id)?.resume(returning: result)
            case .end(let id): answers.removeValue(forKey: id)?.finish()
            case .fail(let id, let failure):
                answers.removeValue(forKey: id)?.finish(throwing: failure.error)
                replies.removeValue(forKey: id)?.resume(throwing: failure.error)
            case .silent: over(isSilent: true, "nothing more is heard of the host that was asked")
            case .condemn(let reason): over(isSilent: false, "the host that was asked breaks the rules: \(reason)")
            }
        }
    }

    private func over(isSilent: Bool, _ message: String) {
        guard end == nil else { return }
        let error = RuntimeError(.unavailable, message, cause: HostGone(isSilent: isSilent))
        end = error
        link.close()
        for task in tasks { task.cancel() }
        let (answers, replies) = (self.answers, self.replies)
        self.answers = [:]
        self.replies = [:]
        for answer in answers.values { answer.finish(throwing: error) }
        for reply in replies.values { reply.resume(throwing: error) }
    }

    static var nonsense: RuntimeError {
        RuntimeError(.engineFailed, "the host that was asked answered something else; are both of the same version?")
    }
}

/// An iterator that is used by one reader, from whatever task it runs in.
private actor PieceReader<Piece: Sendable> {
    private var iterator: AsyncThrowingStream<Piece, any Error>.AsyncIterator

    init(_ iterator: sending AsyncThrowingStream<Piece, any Error>.AsyncIterator) { self.iterator = iterator }

    func next() async throws -> Piece? {
        var iterator = iterator
        let piece = try await iterator.next(isolation: self)
        self.iterator = iterator
        return piece
    }
}
