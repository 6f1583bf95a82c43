import Core
import Swarm

/// One attempt at a request: places its parts on hosts, reads them, and makes one result of them. The shell of
/// ``Gathering``.
actor RequestRun {
    /// Hosts that are busy or not ready are asked again after this.
    private static let retry = Duration.seconds(1)

    private let order: RequestOrder
    private let messages: [Message]
    private let owner: Owner
    /// Whose answers go on elsewhere, and whose do not: of several hosts each speaks for itself.
    private let dispatcher: Dispatcher
    private let alone: Dispatcher
    private let progress: RequestProgress
    private let wallClock: @Sendable () -> UInt64

    private var parts: [RequestPart] = []
    private var names: [String] = []
    private var decision: RouteDecision?
    private var tasks: [Task<Void, Never>] = []
    private var stop: RequestKeeper.Stop?
    private let news: AsyncStream<News>
    private let tell: AsyncStream<News>.Continuation
    /// The last reason for which no host could answer.
    private var refusal: RuntimeError?

    private enum News: Sendable {
        case over(part: Int, Result<Void, RuntimeError>)
        case stopped
    }

    init(
        _ order: RequestOrder, _ messages: [Message], of owner: Owner, dispatcher: Dispatcher, alone: Dispatcher,
        progress: RequestProgress, wallClock: @escaping @Sendable () -> UInt64
    ) {
        self.order = order
        self.messages = messages
        self.owner = owner
        self.dispatcher = dispatcher
        self.alone = alone
        self.progress = progress
        self.wallClock = wallClock
        (news, tell) = AsyncStream.makeStream(of: News.self)
    }

    /// It is cancelled, or its time is over: what there is counts.
    func stop(_ why: RequestKeeper.Stop) {
        guard stop == nil else { return }
        stop = why
        tell.yield(.stopped)
    }

    /// Nil where the task was cancelled: the host ends, or somebody else's attempt counts.
    func result() async -> RequestResult? {
        defer { for task in tasks { task.cancel() } }
        while !Task.isCancelled {
            if let stop { return stopped(stop) }
            do {
                try await begin()
                guard let outcome = await gather() else { return nil }
                // What failed on all hosts because they were busy is tried again; what failed by itself is not.
                if outcome != .failed || refusal == nil { return result(of: outcome) }
            } catch let error as RuntimeError {
                guard error.mayPass else { return .failed(error.code.rawValue, error.message) }
                refusal = error
            } catch {
                return nil
            }
            // Cancelled with the run; a stop is seen a moment later.
            try? await Task.sleep(for: Self.retry)
        }
        return nil
    }

    // MARK: - Placing

    private func begin() async throws {
        for task in tasks { task.cancel() }
        let instructions = messages.filter { $0.role == .system }
        let dialogue = messages.filter { $0.role != .system }
        guard let last = dialogue.last else { throw RuntimeError(.invalidRequest, "nothing is asked") }
        let plan = Conversations.unkept(instructions, dialogue, last)
        let cost = TokenCost(perByte: 0.25, perMessage: 4, fixed: 0, isExact: false)
        let assignments = try await dispatcher.assign(
            order, count: order.count, prefix: PromptPrefix(messages, cost: cost))
        decision = assignments.first?.decision
        parts = assignments.map {
            RequestPart(
                node: $0.place.node, servedBy: $0.place.node, reason: $0.place.reason, began: wallClock())
        }
        names = assignments.map(\.name)
        refusal = nil
        progress.begin(parts: parts.count)
        tasks = assignments.enumerated().map { number, assignment in
            Task { await self.write(number, assignment.place, plan) }
        }
    }

    private func write(_ number: Int, _ place: Place, _ plan: ConversationPlan) async {
        do {
            let engine = try await place.engine.describe()
            let window = try PromptWindow(
                instructions: plan.instructions, history: plan.history, new: plan.new,
                maximumTokens: order.maximumTokens, contextLength: engine.contextLength, cost: engine.tokenCost)
            var generation = GenerationRequest(
                messages: EngineFit(engine).readable(window.messages), maximumTokens: window.maximumTokens,
                stop: order.stop, sampling: order.sampling)
            // Its deadline is the run's own business: it leaves the queue then.
            generation.ticket = Ticket(caller: HashRing.key(of: owner.name), priority: order.priority)
            let serving = Serving(place)
            let writer = order.count > 1 ? alone : dispatcher
            let prefix = PromptPrefix(generation.messages, cost: engine.tokenCost)
            for try await event in writer.generate(
                generation, of: order.model, at: place, prefix: prefix, telling: serving)
            {
                take(event, of: number, serving)
            }
            try Task.checkCancellation()
            guard parts[number].finishReason != nil else {
                throw RuntimeError(.engineFailed, "the engine ended in the middle of its answer")
            }
            // Nothing is no good answer where others may have one.
            guard order.count == 1 || !parts[number].text.isEmpty else {
                throw RuntimeError(.engineFailed, "the answer is empty")
            }
            tell.yield(.over(part: number, .success(())))
        } catch is CancellationError {
            // Whoever cancelled it knows.
        } catch {
            let error = error as? RuntimeError ?? RuntimeError(.internal, "the host made a mistake")
            tell.yield(.over(part: number, .failure(error)))
        }
    }

    private func take(_ event: GenerationEvent, of number: Int, _ serving: Serving) {
        guard parts.indices.contains(number), !Task.isCancelled else { return }
        parts[number].servedBy = serving.node
        parts[number].reason = serving.reason
        switch event {
        case .text(let text):
            parts[number].text += text
            progress.add(text, to: number)
        case .finished(let reason, let usage):
            parts[number].finishReason = reason
            parts[number].usage = usage
        case .reasoning, .toolCall, .logprobs, .moved: break
        }
    }

    // MARK: - Gathering

    private func gather() async -> Gathering.Outcome? {
        var gathering = Gathering(order.mode ?? .firstSuccess, parts: parts.count)
        defer {
            for number in parts.indices {
                parts[number].state = gathering.states[number]
                parts[number].votes = gathering.votes[number]
            }
        }
        for await event in news {
            let effects: [Gathering.Effect]
            if case .over(let number, _) = event { parts[number].ended = wallClock() }
            switch event {
            case .stopped: effects = gathering.expired()
            case .over(let number, .success): effects = gathering.completed(number, text: parts[number].text)
            case .over(let number, .failure(let error)):
                parts[number].error = error.message
                if error.mayPass { refusal = error } else if parts.count == 1 { return failed(error, &gathering) }
                effects = gathering.failed(number)
            }
            for effect in effects {
                switch effect {
                case .cancel(let number): tasks[number].cancel()
                case .finish(let outcome): return outcome
                }
            }
        }
        return nil
    }

    /// The reason of the only part is the reason of all.
    private func failed(_ error: RuntimeError, _ gathering: inout Gathering) -> Gathering.Outcome {
        refusal = nil
        failure = error
        _ = gathering.failed(0)
        return .failed
    }

    private var failure: RuntimeError?

    // MARK: - Results

    private func result(of outcome: Gathering.Outcome) -> RequestResult {
        if stop == .cancelled { return stopped(.cancelled) }
        var result: RequestResult
        switch outcome {
        case .answer(let number):
            let part = parts[number]
            result = RequestResult(.completed, finishReason: part.finishReason ?? .stop)
            result.text = part.text
            result.servedBy = part.servedBy
            result.reason = part.reason
        case .joined(let numbers):
            result = RequestResult(.completed, finishReason: .stop)
            result.text = numbers.map { "[\(names[$0])]\n\(parts[$0].text)" }.joined(separator: "\n\n")
            result.servedBy = numbers.first.map { parts[$0].servedBy }
            result.reason = "\(numbers.count) answers joined"
        case .failed:
            if stop == .expired { return stopped(.expired) }
            result = .failed(
                failure?.code.rawValue ?? "no_answer", failure?.message ?? "no host came to an answer; parts says why")
        }
        return finished(result)
    }

    private func stopped(_ why: RequestKeeper.Stop) -> RequestResult {
        var result: RequestResult
        if why == .cancelled {
            result = RequestResult(.cancelled, finishReason: .aborted)
        } else {
            result = .failed("deadline_exceeded", "its deadline came before its answer was whole")
            if let refusal { result.error?.message += "; \(refusal.message)" }
        }
        // What came of it is kept.
        result.text = parts.first?.text ?? ""
        result.servedBy = parts.first?.servedBy
        result.reason = parts.first?.reason
        for number in parts.indices where parts[number].state == .running { parts[number].state = .cancelled }
        return finished(result)
    }

    private func finished(_ result: RequestResult) -> RequestResult {
        var result = result
        result.model = order.model
        result.parts = parts
        result.decision = decision
        for usage in parts.compactMap(\.usage) {
            result.usage = TokenUsage(
                promptTokens: Self.sum(result.usage.promptTokens, usage.promptTokens),
                completionTokens: Self.sum(result.usage.completionTokens, usage.completionTokens),
                isExact: usage.isExact)
        }
        return result
    }

    private static func sum(_ one: Int, _ other: Int) -> Int {
        let (sum, overflows) = one.addingReportingOverflow(other)
        return overflows ? .max : sum
    }
}

extension RuntimeError {
    /// Another moment, or another host, may do better.
    fileprivate var mayPass: Bool {
        switch code {
        case .unavailable, .overloaded, .modelNotFound, .timedOut: true
        default: false
        }
    }
}
