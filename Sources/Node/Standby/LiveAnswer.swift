import Core
internal import Swarm
internal import Synchronization

/// An answer that this host writes, for those who read along: what came of it so far, and what comes.
final class LiveAnswer: Sendable {
    typealias Follower = AsyncThrowingStream<GenerationEvent, any Error>

    private struct State {
        /// Neighbouring pieces of one kind are one.
        var events: [GenerationEvent] = []
        var end: Result<Void, any Error>?
        var followers: [Int: Follower.Continuation] = [:]
        var last = 0
        /// Not yet told to those who stand by, and how many pieces that was.
        var untold: [GenerationEvent] = []
        var untoldPieces = 0
        var teller: (pieces: Int, continuation: CheckedContinuation<Void, Never>)?
    }

    let facts: AnswerFacts
    private let state = Mutex(State())

    init(_ facts: AnswerFacts) { self.facts = facts }

    // MARK: The writer's side

    func add(_ event: GenerationEvent) {
        let (followers, teller) = state.withLock { state in
            guard state.end == nil else {
                return ([Follower.Continuation](), CheckedContinuation<Void, Never>?.none)
            }
            state.events.append(joining: event)
            state.untold.append(joining: event)
            state.untoldPieces += 1
            return (Array(state.followers.values), Self.teller(&state))
        }
        for follower in followers { follower.yield(event) }
        teller?.resume()
    }

    /// It is complete, or nobody goes on with it.
    func finish(_ error: (any Error)? = nil) {
        let (followers, teller) = state.withLock { state in
            guard state.end == nil else {
                return ([Follower.Continuation](), CheckedContinuation<Void, Never>?.none)
            }
            state.end = error.map { .failure($0) } ?? .success(())
            defer { state.followers = [:] }
            return (Array(state.followers.values), Self.teller(&state))
        }
        for follower in followers { follower.finish(throwing: error) }
        teller?.resume()
    }

    var isOver: Bool { state.withLock { $0.end != nil } }

    /// Whether somebody reads along: the answer goes on without its own client then.
    var isFollowed: Bool { state.withLock { !$0.followers.isEmpty } }

    // MARK: Readers

    /// The answer from its first event. What waits for a slow reader is no more than the answer.
    func follow() -> Follower {
        let (stream, continuation) = Follower.makeStream()
        let number = state.withLock { state in
            for event in state.events { continuation.yield(event) }
            switch state.end {
            case .success: continuation.finish()
            case .failure(let error): continuation.finish(throwing: error)
            case nil:
                state.last += 1
                state.followers[state.last] = continuation
            }
            return state.last
        }
        continuation.onTermination = { [weak self] _ in
            self?.state.withLock { _ = $0.followers.removeValue(forKey: number) }
        }
        return stream
    }

    /// Takes what those who stand by have not been told yet.
    func takeUntold() -> [GenerationEvent] {
        state.withLock { state in
            defer {
                state.untold = []
                state.untoldPieces = 0
            }
            return state.untold
        }
    }

    /// Returns once so many pieces are untold, or the answer is over, or the task is cancelled. For one reader.
    func untold(_ pieces: Int) async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isNow = state.withLock { state in
                    if state.untoldPieces >= pieces || state.end != nil || Task.isCancelled { return true }
                    state.teller = (pieces, continuation)
                    return false
                }
                if isNow { continuation.resume() }
            }
        } onCancel: {
            let teller = state.withLock { state in state.teller.take()?.continuation }
            teller?.resume()
        }
    }

    private static func teller(_ state: inout State) -> CheckedContinuation<Void, Never>? {
        guard let teller = state.teller, state.end != nil || state.untoldPieces >= teller.pieces else { return nil }
        state.teller = nil
        return teller.continuation
    }
}

extension [GenerationEvent] {
    /// Text behind text, and the same of thoughts and of one call's arguments, becomes one event.
    mutating func append(joining event: GenerationEvent) {
        switch (last, event) {
        case (.text(let before), .text(let text)): self[count - 1] = .text(before + text)
        case (.reasoning(let before), .reasoning(let text)): self[count - 1] = .reasoning(before + text)
        case (.toolCall(var before), .toolCall(let piece))
        where before.index == piece.index && piece.id == nil && piece.name == nil:
            before.arguments += piece.arguments
            self[count - 1] = .toolCall(before)
        default: append(event)
        }
    }
}
