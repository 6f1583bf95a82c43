import Core
import NIOCore
import Synchronization

/// An answer that is being read from an upstream, and how to read on.
struct OpenAnswer: Sendable {
    var upstream: HTTPUpstream
    var connection: HTTPConnection
    var stream: ChatStream
    /// The answer is one JSON text, not a stream of events.
    var isWhole = false

    /// The next events; never empty, nil after the last.
    mutating func next() async throws -> [GenerationEvent]? {
        if isWhole, !stream.isComplete { return try stream.whole(try await rest()) }
        while !stream.isComplete {
            switch try await connection.next() {
            case .head: break
            case .body(let bytes):
                let events = try stream.append(Array(bytes.readableBytesView))
                if !events.isEmpty { return events }
            case .end: return [try stream.finish()]
            }
        }
        return nil
    }

    private func rest() async throws -> [UInt8] {
        var body: [UInt8] = []
        while case .body(let bytes) = try await connection.next() {
            body += bytes.readableBytesView
            guard body.count <= Limits.engineReplyBytes else {
                throw RuntimeError(.engineFailed, "the answer grew past \(Limits.engineReplyBytes) bytes")
            }
        }
        return body
    }
}

/// Pulls one answer from an upstream, as its reader asks for it: what the reader does not take stays in the socket, and
/// the engine waits. No actor, because every piece would have to change to it and back: a stream has one reader, and
/// what a second one found would be the end.
final class AnswerSource: Sendable {
    /// Asks the upstream, when it is there and this request's turn has come. `isAgain` when an earlier attempt failed
    /// before its first event.
    typealias Open = @Sendable (_ isAgain: Bool) async throws -> OpenAnswer
    /// What a failure means; nil for one that another attempt may overcome.
    typealias Failure = @Sendable (_ error: any Error, _ mayRetry: Bool) async -> (any Error)?

    private struct State {
        var answer: OpenAnswer?
        var ready: ArraySlice<GenerationEvent> = []
        var hasBegun = false
        var hasRetried = false
        var isOver = false
    }

    private let hold: AnswerHold
    private let open: Open
    private let failure: Failure
    private let state = Mutex(State())

    private init(hold: AnswerHold, open: @escaping Open, failure: @escaping Failure) {
        self.hold = hold
        self.open = open
        self.failure = failure
    }

    /// The answer as a stream. `onEnd` is called once, when it is over or nobody reads it any more.
    static func stream(
        open: @escaping Open, failure: @escaping Failure, onEnd: @escaping @Sendable () -> Void
    ) -> GenerationStream {
        let hold = AnswerHold(onEnd)
        let source = AnswerSource(hold: hold, open: open, failure: failure)
        let reader = AnswerReader(hold)
        return GenerationStream { try await source.next(for: reader) }
    }

    private func next(for reader: AnswerReader) async throws -> GenerationEvent? {
        while !state.withLock({ $0.isOver }) {
            if let event = ready() {
                if case .finished = event { end() }
                return event
            }
            // Taken out while it is read: its buffers grow in place.
            var answer = state.withLock { $0.answer.take() }
            do {
                try Task.checkCancellation()
                if answer == nil {
                    let opened = try await open(state.withLock { $0.hasRetried })
                    hold.attach(opened.connection)
                    answer = opened
                }
                let events = try await answer?.next()
                state.withLock { [answer] state in
                    state.answer = answer
                    state.ready = (events ?? [])[...]
                }
                guard events != nil else { break }
            } catch {
                answer?.connection.close()
                try await give(up: error)
            }
        }
        end()
        return nil
    }

    private func ready() -> GenerationEvent? {
        state.withLock { state in
            guard let event = state.ready.popFirst() else { return nil }
            state.hasBegun = true
            return event
        }
    }

    private func give(up error: any Error) async throws {
        let mayRetry = state.withLock { !$0.hasBegun && !$0.hasRetried }
        if error is CancellationError {
            end()
            throw error
        }
        guard let verdict = await failure(error, mayRetry) else {
            return state.withLock { $0.hasRetried = true }
        }
        end()
        throw verdict
    }

    private func end() {
        let (isFirst, answer) = state.withLock { state in
            defer { state.isOver = true }
            return (!state.isOver, state.answer.take())
        }
        guard isFirst else { return }
        if let answer, answer.stream.isComplete {
            hold.end { _ in answer.upstream.release(answer.connection) }
        } else {
            hold.end { $0?.close() }
        }
    }
}

/// Held by an answer's source and by its reader: whichever lets go ends the exchange.
final class AnswerHold: Sendable {
    private struct State {
        var connection: HTTPConnection?
        var isOver = false
    }

    private let state = Mutex(State())
    private let onEnd: @Sendable () -> Void

    init(_ onEnd: @escaping @Sendable () -> Void) { self.onEnd = onEnd }

    func attach(_ connection: HTTPConnection) {
        let isOver = state.withLock { state in
            if !state.isOver { state.connection = connection }
            return state.isOver
        }
        if isOver { connection.close() }
    }

    /// Ends it, once: `body` gets the connection.
    func end(_ body: (HTTPConnection?) -> Void) {
        let (isFirst, connection) = state.withLock { state in
            defer { state.isOver = true }
            return (!state.isOver, state.connection.take())
        }
        guard isFirst else { return }
        body(connection)
        onEnd()
    }
}

/// Held by the stream alone: its end is the reader's.
private final class AnswerReader: Sendable {
    private let hold: AnswerHold
    init(_ hold: AnswerHold) { self.hold = hold }
    deinit { hold.end { $0?.close() } }
}
