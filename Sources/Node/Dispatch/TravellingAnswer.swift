import Core
import Swarm

/// One answer on its way through engines: pulls from the one that writes, and goes on at the next where that fails. The
/// shell of ``AnswerJourney``.
actor TravellingAnswer {
    private let request: GenerationRequest
    private let model: String
    private let dispatcher: Dispatcher
    private let serving: Serving
    private var place: Place
    private var journey: AnswerJourney
    private var prefix: PromptPrefix
    /// The router counts on being told how it went.
    private var isCounted = false
    private var stream: GenerationStream.AsyncIterator?
    /// What another host has written of it, to be given out first; empty where the answer begins here.
    private var inherited: [GenerationEvent]
    /// Who wrote that.
    private let testator: NodeID?
    /// Told before the next event.
    private var move: Failover?
    private var lastEvent = ContinuousClock.now
    private var isInterrupted = false
    private let begin = ContinuousClock.now
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
        journey = AnswerJourney(at: place.node, goesOn: dispatcher.takesUp)
        inherited = (heritage?.events ?? []).reversed()
        testator = heritage?.writer
    }

    func next() async throws -> GenerationEvent? {
        if let event = inherited.popLast() {
            try journey.inherit(event)
            if inherited.isEmpty, let testator {
                move = journey.takenUp(from: testator, by: await capabilities(of: place), for: request)
            }
            return event
        }
        if let moved = takeMove() { return moved }
        while !journey.soFar.isFinished {
            do {
                if await givesAway() { return takeMove() }
                guard let event = try await pull() else {
                    throw RuntimeError(.engineFailed, "the engine ended in the middle of its answer; try again")
                }
                guard let fresh = try journey.take(event) else { continue }
                noteProgress()
                if case .finished(_, let usage) = fresh { answered(usage) }
                return fresh
            } catch {
                try Task.checkCancellation()
                stream = nil
                if journey.soFar.isEmpty, let error = error as? RuntimeError, let exit = error.cause as? QueueExit {
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

    private func pull() async throws -> GenerationEvent? {
        var iterator: GenerationStream.AsyncIterator
        if let stream {
            iterator = stream
        } else {
            if !dispatcher.isHere(place) { dispatcher.metrics.countForwarded() }
            dispatcher.began(at: place)
            isCounted = true
            let request = journey.request(request, waited: ContinuousClock.now - begin)
            iterator = place.engine.generate(request).makeAsyncIterator()
        }
        let event = try await iterator.next(isolation: self)
        stream = iterator
        try Task.checkCancellation()
        return event
    }

    deinit {
        // Whoever read it has left.
        if isCounted { dispatcher.ended(at: place, .withdrawn, prefix: PromptPrefix()) }
    }

    private func answered(_ usage: TokenUsage) {
        prefix.append(journey.soFar.message, tokens: max(0, usage.completionTokens))
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
        lastEvent = now
    }

    /// It left a queue without its turn: nothing has failed. Throws where nobody else has room.
    private func waitElsewhere(_ exit: QueueExit, _ error: RuntimeError) async throws {
        var next: Place?
        if let node = try journey.left(exit, error) {
            next = await dispatcher.place(of: model, on: node, like: place.model)
        }
        if next == nil, journey.mayBeOffered {
            next = await dispatcher.elsewhere(
                request, of: model, prefix: prefix, like: place, without: journey.avoided)
        }
        guard let next else { throw journey.refused(error) }
        if case .full = exit { dispatcher.metrics.countOffered() }
        place = next
        journey.wait(at: next.node)
        serving.move(to: next, "the host before had more to do")
    }

    private func takeMove() -> GenerationEvent? {
        defer { move = nil }
        return move.map { .moved($0) }
    }

    /// Where this host is being emptied, an answer that its engine writes goes on at another one, if there is one.
    private func givesAway() async -> Bool {
        guard dispatcher.isDraining, dispatcher.isHere(place), stream != nil, journey.mayBeGivenAway,
            lastLook.map({ ContinuousClock.now - $0 > .seconds(1) }) ?? true
        else { return false }
        lastLook = .now
        let others = await dispatcher.places(for: model, like: place.model)
        guard let next = others.first(where: { dispatcher.isOtherReady($0) && !journey.avoided.contains($0.node) })
        else { return false }
        stream = nil
        count(.withdrawn)
        await go(on: next, .drained, "the host before is being emptied")
        return true
    }

    /// Throws where nobody can go on.
    private func moveOn(after error: any Error) async throws {
        guard let cause = Failover.Cause(of: error) else { throw error }
        let isRepeated = journey.isRepeated
        guard journey.failed(cause) else {
            // What was written differently says so itself.
            throw dispatcher.takesUp && !isRepeated ? ended(error) : error
        }
        guard let next = await successor() else { throw ended(error) }
        isInterrupted = true
        await go(on: next, cause, "the host before failed (\(cause.rawValue))")
    }

    /// The router's choice; where it has none, whoever there is.
    private func successor() async -> Place? {
        let without = journey.avoided.union([place.node])
        if let chosen = await dispatcher.successor(of: place, request, of: model, prefix: prefix, without: without) {
            return chosen
        }
        let places = await dispatcher.places(for: model, like: place.model)
        let stops = places.map { AnswerJourney.Stop(node: $0.node, isReady: $0.model.isReady) }
        let node = journey.next(among: stops)
        return places.first { $0.node == node }
    }

    private func go(on next: Place, _ cause: Failover.Cause, _ reason: String) async {
        dispatcher.metrics.count(cause)
        move = journey.move(to: next.node, cause, by: await capabilities(of: next), for: request)
        place = next
        serving.move(to: next, reason)
    }

    private func capabilities(of place: Place) async -> Set<EngineCapability> {
        let told = Set(place.model.capabilities.compactMap(EngineCapability.init(rawValue:)))
        // One that cannot say it cannot be asked either: that is found out in a moment.
        return told.isEmpty ? (try? await place.engine.describe().capabilities) ?? [] : told
    }

    private func ended(_ error: any Error) -> any Error {
        guard !journey.soFar.isEmpty, var error = error as? RuntimeError else { return error }
        error.message += "; no other host could go on, what was written so far is kept"
        return error
    }
}
