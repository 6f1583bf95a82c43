package import Core

/// Where one answer is written, and where it goes on: what is decided when its writer fails, when its turn comes
/// elsewhere, or when its host is emptied. A pure machine: shells tell it what happens and who could go on.
package struct AnswerJourney: Sendable {
    /// A host that has the model.
    package struct Stop: Hashable, Sendable {
        package var node: NodeID
        package var isReady: Bool

        package init(node: NodeID, isReady: Bool) {
            self.node = node
            self.isReady = isReady
        }
    }

    /// An answer whose host fails goes on at another one.
    private let goesOn: Bool
    /// Who writes it, or is to.
    package private(set) var host: NodeID
    package private(set) var soFar = AnswerSoFar()
    private var way = Failover.Way.begun
    private var moves = 0
    /// Hosts that are gone, or want nothing more of this answer.
    package private(set) var avoided: Set<NodeID> = []
    /// Something was given out since the last failure of an engine. One that fails twice in the same place would do so
    /// anywhere: a prompt must not bring down the engines of a whole swarm, one after another.
    private var hasProgressed = true
    /// From one host's queue to another's.
    private var queueMoves = 0
    /// To hosts, because others had no room.
    private var offers = 0
    /// Of the hosts that had no room, the one that will soonest.
    private var refusal: RuntimeError?

    package init(at host: NodeID, goesOn: Bool) {
        self.host = host
        self.goesOn = goesOn
    }

    // MARK: Writing

    /// What the present host is asked to write.
    ///
    /// - Parameter waited: since the client asked.
    package mutating func request(_ request: GenerationRequest, waited: Duration) -> GenerationRequest {
        var request = soFar.takeUp(request, way)
        // An answer that has begun is nobody's to move, and late is better than broken off.
        request.ticket.moves = soFar.isEmpty ? queueMoves : Limits.queueMoves
        request.ticket.patience = soFar.isEmpty ? request.ticket.patience.map { max(.zero, $0 - waited) } : nil
        return request
    }

    /// What of an engine's event is to be given out. Throws as ``AnswerSoFar/take(_:)`` does.
    package mutating func take(_ event: GenerationEvent) throws(RuntimeError) -> GenerationEvent? {
        let fresh = try soFar.take(event)
        if fresh != nil { hasProgressed = true }
        return fresh
    }

    /// What another host has written of it, given out as its own; then ``takenUp(from:by:for:)``.
    package mutating func inherit(_ event: GenerationEvent) throws(RuntimeError) { _ = try soFar.take(event) }

    /// Goes on here with what was inherited.
    package mutating func takenUp(
        from writer: NodeID, by capabilities: Set<EngineCapability>, for request: GenerationRequest
    ) -> Failover {
        way = soFar.way(for: capabilities, request)
        return Failover(from: writer, to: host, cause: .lost, way: way)
    }

    // MARK: Waiting

    /// It left a queue without its turn: nothing has failed. Returns the host that it was sent to, if it was. Throws
    /// where it waits nowhere any more.
    package mutating func left(_ exit: QueueExit, _ error: RuntimeError) throws(RuntimeError) -> NodeID? {
        switch exit {
        case .expired: throw error
        case .full:
            avoided.insert(host)
            offers += 1
            if error.retryAfter ?? .zero < refusal?.retryAfter ?? Limits.queuePatience { refusal = error }
            return nil
        case .moved(let node):
            queueMoves += 1
            guard queueMoves <= Limits.queueMoves else { throw error }
            return node
        }
    }

    /// Whether one host more may be asked for room.
    package var mayBeOffered: Bool { offers <= Limits.queueOffers }

    /// What the client is told where nobody has room.
    package func refused(_ error: RuntimeError) -> RuntimeError { refusal ?? error }

    /// It waits at that host now.
    package mutating func wait(at node: NodeID) { host = node }

    // MARK: Going on

    /// It is being written once more from its beginning, and compared.
    package var isRepeated: Bool { way == .repeated }

    /// Its writer has failed; whether somebody else may go on.
    package mutating func failed(_ cause: Failover.Cause) -> Bool {
        // A host that it was sent on to may be gone: it has not begun anywhere.
        let isWaiting = queueMoves > 0 && soFar.isEmpty
        guard goesOn || isWaiting, moves < Limits.failovers else { return false }
        guard cause == .engine else {
            avoided.insert(host)
            return true
        }
        // Without progress, another one would hardly do better.
        return hasProgressed
    }

    /// Who goes on, of those that could; `stops` are the best first. Where only an engine has failed it may be the same
    /// host once more: it starts its engine again.
    package func next(among stops: [Stop]) -> NodeID? {
        let able = stops.filter { !avoided.contains($0.node) }
        let others = able.filter { $0.node != host }
        // Where nothing had been given out, the engine's own shell has tried it again.
        return (others.first(where: \.isReady) ?? others.first ?? (soFar.isEmpty ? nil : able.first))?.node
    }

    /// Whether its host may give it away: once it has begun.
    package var mayBeGivenAway: Bool { goesOn && !soFar.isEmpty && moves < Limits.failovers }

    /// It goes on there. Nil where it begins: the client need not know.
    package mutating func move(
        to node: NodeID, _ cause: Failover.Cause, by capabilities: Set<EngineCapability>,
        for request: GenerationRequest
    ) -> Failover? {
        let from = host
        host = node
        moves += 1
        if cause != .drained { hasProgressed = false }
        way = soFar.way(for: capabilities, request)
        return soFar.isEmpty ? nil : Failover(from: from, to: node, cause: cause, way: way)
    }
}

extension Failover.Cause {
    /// Nil for what would be the same anywhere.
    package init?(of error: any Error) {
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
