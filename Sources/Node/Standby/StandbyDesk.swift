package import Core
internal import Metrics
package import Swarm
internal import Synchronization

/// The answers of other hosts that this one stands by for: the shell of ``StandbyTable``. Nothing of it is written to a
/// disk.
package actor StandbyDesk {
    /// An answer that is to be taken up: what was asked, and what came of it.
    package struct Heritage: Sendable {
        package var request: StandbyRequest
        package var events: [GenerationEvent]
        /// Who wrote it.
        package var writer: NodeID
    }

    private let living: @Sendable () async -> Set<NodeID>
    private let start = ContinuousClock.now
    private var table: StandbyTable
    private var held: [Dot: Heritage] = [:]
    private var takeUp: (@Sendable (Heritage) async -> Void)?
    private var watch: Task<Void, Never>?
    /// Clients that came for an answer before anybody has taken it up.
    private var waiting: [Dot: [Int: CheckedContinuation<Void, Never>]] = [:]
    private var tickets = 0
    private let gauge = Gauge(label: "igris_standby_answers")
    private let taken = Counter(label: "igris_answers_taken_up_total")

    /// - Parameter living: the hosts of the swarm that are alive.
    package init(node: NodeID, living: @escaping @Sendable () async -> Set<NodeID>) {
        table = StandbyTable(node: node)
        self.living = living
        gauge.record(0)
    }

    /// What is done with an answer whose writer is gone. Without it nothing is stood by for.
    package func open(_ takeUp: @escaping @Sendable (Heritage) async -> Void) { self.takeUp = takeUp }

    // MARK: What writers say

    /// Throws ``RuntimeError`` `.overloaded` where there is no room.
    func standBy(for request: StandbyRequest, of writer: NodeID) throws(RuntimeError) {
        guard takeUp != nil,
            table.stoodBy(
                for: request.question, of: writer, standbys: request.standbys, bytes: request.generation.weight)
        else { throw RuntimeError(.overloaded, "this host stands by for too many answers") }
        failpoint("standby.begin")
        held[request.question] = Heritage(request: request, events: [], writer: writer)
        gauge.record(table.count)
        if watch == nil { watch = Task { await self.keepWatch() } }
    }

    func more(_ event: GenerationEvent, of question: Dot, from writer: NodeID) {
        guard table.grew(question, of: writer, by: event.weight) else {
            if !table.holds(question) { drop(question) }
            return
        }
        held[question]?.events.append(joining: event)
    }

    func release(_ question: Dot, by writer: NodeID) {
        if table.released(question, by: writer) { drop(question) }
    }

    func lostLink(_ question: Dot, of writer: NodeID) { table.lostLink(question, of: writer, at: now) }

    // MARK: Those who come for an answer

    func facts(of question: Dot) -> AnswerFacts? { held[question]?.request.facts }

    /// Returns once this host no longer merely stands by: it has taken the answer up, or is not to.
    func decided(_ question: Dot) async {
        guard held[question] != nil else { return }
        tickets += 1
        let ticket = tickets
        await withTaskCancellationHandler {
            await withCheckedContinuation { waiting[question, default: [:]][ticket] = $0 }
        } onCancel: {
            Task { await self.giveUp(question, ticket) }
        }
    }

    private func giveUp(_ question: Dot, _ ticket: Int) { waiting[question]?.removeValue(forKey: ticket)?.resume() }

    // MARK: Watching

    private var now: Duration { ContinuousClock.now - start }

    private func keepWatch() async {
        while !table.isEmpty {
            for question in table.ticked(at: now, living: await living()) {
                guard let heritage = held[question], let takeUp else { continue }
                taken.increment()
                await takeUp(heritage)
                drop(question)
            }
            try? await Task.sleep(for: Limits.standbyInterval)  // never cancelled
        }
        watch = nil
    }

    private func drop(_ question: Dot) {
        held[question] = nil
        gauge.record(table.count)
        for waiter in (waiting.removeValue(forKey: question) ?? [:]).values { waiter.resume() }
    }
}

extension GenerationRequest {
    /// About what it takes in memory.
    fileprivate var weight: Int { messages.reduce(1_024) { $0 + $1.promptBytes + 128 } }
}

extension GenerationEvent {
    fileprivate var weight: Int {
        switch self {
        case .text(let text), .reasoning(let text): text.utf8.count
        case .toolCall(let piece): 64 + piece.arguments.utf8.count
        case .logprobs(let tokens): tokens.reduce(0) { $0 + 128 * ($1.alternatives.count + 1) }
        case .moved, .finished: 0
        }
    }
}
