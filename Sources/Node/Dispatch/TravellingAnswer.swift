import Core
import Swarm

/// One answer on its way through engines: pulls from the one that writes, and goes on at the next where that fails.
actor TravellingAnswer {
    private let request: GenerationRequest
    private let model: String
    private let dispatcher: Dispatcher
    private let serving: Serving
    private var place: Place
    private var prefix: PromptPrefix
    /// The router counts on being told how it went.
    private var isCounted = false
    private var stream: GenerationStream.AsyncIterator?
    private var soFar = AnswerSoFar()
    /// What another host has written of it, to be given out first; empty where the answer begins here.
    private var inherited: [GenerationEvent]
    /// Who wrote that.
    private let testator: NodeID?
    private var way = Failover.Way.begun

    /// Told before the next event.
    private var move: Failover?
    private var moves = 0
    /// Hosts that are gone, or want nothing more of this answer.
    private var avoided: Set<NodeID> = []
    /// Something was given out since the last failure of an engine. One that fails twice in the same place would do so
    /// anywhere: a prompt must not bring down the engines of a whole swarm, one after another.
    private var hasProgressed = true
    private var lastEvent = ContinuousClock.now
    private var isInterrupted = false
    private let begin = ContinuousClock.now
    /// From one host's queue to another's.
    private var queueMoves = 0
    /// To hosts, because others had no room.
    private var offers = 0
    /// Of the hosts that had no room, the one that will soonest.
    private var refusal: RuntimeError?
    /// When somebody else was looked for, to give the answer away.
    private var lastLook: ContinuousClock.Instant?

    init(
        _ request: GenerationRequest, of model: String, at place: Place, prefix: PromptPrefix, telling serving: Serving,
        behind heritage: StandbyDesk.Heritage? = nil, by dispatcher: Dispatcher
    ) {
        self.request = request
        self.model = model
        self.place = place
        self.prefix = prefix
        self.serving = serving
        self.dispatcher = dispatcher
        inherited = (heritage?.events ?? []).reversed()
        testator = heritage?.writer
    }

    func next() async throws -> GenerationEvent? {
        if let event = inherited.popLast() {
            _ = try soFar.take(event)
            if inherited.isEmpty { await takeOver() }
            return event
        }
        if let moved = takeMove() { return moved }
        while !soFar.isFinished {
            do {
                if await givesAway() { return takeMove() }
                guard let event = try await pull() else {
                    throw RuntimeError(.engineFailed, "the engine ended in the middle of its answer; try again")
                }
                guard let fresh = try soFar.take(event) else { continue }
                noteProgress()
                if case .finished(_, let usage) = fresh { answered(usage) }
                return fresh
            } catch {
                try Task.checkCancellation()
                stream = nil
                if soFar.isEmpty, let error = error as? RuntimeError, let exit = error.cause as? QueueExit {
                    count(.withdrawn)
                    try await waitElsewhere(exit, error)
                    continue
                }
                count(Failover.Cause(of: error) == nil ? .withdrawn : .failed)
                try await moveOn(after: error)
                if let moved = takeMove() { return moved }
            }
        }
        return nil
    }

    private func takeOver() async {
        guard let testator else { return }
        way = soFar.way(for: await capabilities(of: place), request)
        move = Failover(from: testator, to: place.node, cause: .lost, way: way)
    }

    private func pull() async throws -> GenerationEvent? {
        var iterator: GenerationStream.AsyncIterator
        if let stream {
            iterator = stream
        } else {
            if !dispatcher.isHere(place) { dispatcher.metrics.countForwarded() }
            dispatcher.began(at: place)
            isCounted = true
            var request = soFar.takeUp(request, way)
            request.ticket = ticket
            iterator = place.engine.generate(request).makeAsyncIterator()
        }
        let event = try await iterator.next(isolation: self)
        stream = iterator
        try Task.checkCancellation()
        return event
    }

    /// What it waits by now. An answer that has begun is nobody's to move, and late is better than broken off.
    private var ticket: Ticket {
        var ticket = request.ticket
        ticket.moves = soFar.isEmpty ? queueMoves : Limits.queueMoves
        ticket.patience = soFar.isEmpty ? ticket.patience.map { max(.zero, $0 - (ContinuousClock.now - begin)) } : nil
        return ticket
    }

    deinit {
        // Whoever read it has left.
        if isCounted { dispatcher.ended(at: place, .withdrawn, prefix: PromptPrefix()) }
    }

    private func answered(_ usage: TokenUsage) {
        prefix.append(soFar.message, tokens: max(0, usage.completionTokens))
        count(.answered)
    }

    private func count(_ outcome: Router.Outcome) {
        guard isCounted else { return }
        isCounted = false
        dispatcher.ended(at: place, outcome, prefix: prefix)
    }

    private func noteProgress() {
        let now = ContinuousClock.now
        if isInterrupted { dispatcher.metrics.record(gap: now - lastEvent) }
        isInterrupted = false
        hasProgressed = true
        lastEvent = now
    }

    /// It left a queue without its turn: nothing has failed. Throws where nobody else has room.
    private func waitElsewhere(_ exit: QueueExit, _ error: RuntimeError) async throws {
        var next: Place?
        switch exit {
        case .expired: throw error
        case .full:
            avoided.insert(place.node)
            offers += 1
            if error.retryAfter ?? .zero < refusal?.retryAfter ?? Limits.queuePatience { refusal = error }
        case .moved(let node):
            queueMoves += 1
            guard queueMoves <= Limits.queueMoves else { throw error }
            next = await dispatcher.place(of: model, on: node, like: place.model)
        }
        if next == nil, offers <= Limits.queueOffers {
            next = await dispatcher.elsewhere(request, of: model, prefix: prefix, like: place, without: avoided)
        }
        guard let next else { throw refusal ?? error }
        if case .full = exit { dispatcher.metrics.countOffered() }
        place = next
        serving.move(to: next, "the host before had more to do")
    }

    private func takeMove() -> GenerationEvent? {
        defer { move = nil }
        return move.map { .moved($0) }
    }

    /// Where this host is being emptied, an answer that its engine writes goes on at another one, if there is one.
    private func givesAway() async -> Bool {
        guard dispatcher.isDraining, dispatcher.takesUp, dispatcher.isHere(place), stream != nil, !soFar.isEmpty,
            moves < Limits.failovers, lastLook.map({ ContinuousClock.now - $0 > .seconds(1) }) ?? true
        else { return false }
        lastLook = .now
        let others = await dispatcher.places(for: model, like: place.model)
        guard let next = others.first(where: { dispatcher.isOtherReady($0) && !avoided.contains($0.node) }) else {
            return false
        }
        stream = nil
        count(.withdrawn)
        moves += 1
        dispatcher.metrics.count(.drained)
        way = soFar.way(for: await capabilities(of: next), request)
        move = Failover(from: place.node, to: next.node, cause: .drained, way: way)
        place = next
        serving.move(to: next, "the host before is being emptied")
        return true
    }

    /// Throws where nobody can go on.
    private func moveOn(after error: any Error) async throws {
        // A host that it was sent on to may be gone: it has not begun anywhere.
        let isWaiting = queueMoves > 0 && soFar.isEmpty
        guard dispatcher.takesUp || isWaiting, moves < Limits.failovers, let cause = Failover.Cause(of: error) else {
            throw error
        }
        // The engine has written something else: the next one would hardly do better.
        if way == .repeated, cause == .engine, !hasProgressed { throw error }
        let from = place
        guard cause != .engine || hasProgressed, let next = await next(after: cause) else { throw ended(error) }
        moves += 1
        hasProgressed = false
        isInterrupted = true
        dispatcher.metrics.count(cause)
        place = next
        serving.move(to: next, "the host before failed (\(cause.rawValue))")
        way = soFar.way(for: await capabilities(of: next), request)
        if !soFar.isEmpty { move = Failover(from: from.node, to: next.node, cause: cause, way: way) }
    }

    /// Another host; else, where only an engine has failed, the same host once more: it starts its engine again.
    private func next(after cause: Failover.Cause) async -> Place? {
        if cause != .engine { avoided.insert(place.node) }
        let places = await dispatcher.places(for: model, like: place.model).filter { !avoided.contains($0.node) }
        let others = places.filter { $0.node != place.node }
        // Where nothing had been given out, the engine's own shell has tried it again.
        return others.first { $0.model.isReady } ?? others.first ?? (soFar.isEmpty ? nil : places.first)
    }

    private func capabilities(of place: Place) async -> Set<EngineCapability> {
        let told = Set(place.model.capabilities.compactMap(EngineCapability.init(rawValue:)))
        // One that cannot say it cannot be asked either: that is found out in a moment.
        return told.isEmpty ? (try? await place.engine.describe().capabilities) ?? [] : told
    }

    private func ended(_ error: any Error) -> any Error {
        guard !soFar.isEmpty, var error = error as? RuntimeError else { return error }
        error.message += "; no other host could go on, what was written so far is kept"
        return error
    }
}

extension Failover.Cause {
    /// Nil for what would be the same anywhere.
    fileprivate init?(of error: any Error) {
        guard let error = error as? RuntimeError else { return nil }
        if let gone = error.cause as? HostGone {
            self = gone.isSilent ? .silent : .lost
            return
        }
        switch error.code {
        case .engineFailed: self = .engine
        case .unavailable, .overloaded, .modelNotFound, .damaged, .system: self = .refused
        default: return nil
        }
    }
}
