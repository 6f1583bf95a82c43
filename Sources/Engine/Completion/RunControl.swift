import Core
import Synchronization

/// The hold on one running program that its reader, its watch and whoever cancels it share.
final class RunControl: Sendable {
    private struct State {
        var clock: RunClock
        var process: ChildProcess?
        var isInterrupted = false
        var failure: RuntimeError?
    }

    private let mailbox: AnswerMailbox
    private let now: @Sendable () -> ContinuousClock.Instant = { ContinuousClock().now }
    private let state: Mutex<State>

    init(mailbox: AnswerMailbox, bounds: EngineBounds) {
        self.mailbox = mailbox
        state = Mutex(State(clock: RunClock(bounds: bounds, at: ContinuousClock().now)))
    }

    /// A new attempt: the times begin again. False when it has been interrupted before it could start.
    func began(_ process: ChildProcess, bounds: EngineBounds) -> Bool {
        state.withLock { state in
            state.clock = RunClock(bounds: bounds, at: now())
            state.process = process
            return !state.isInterrupted
        }
    }

    /// To be called before ``withChild(_:stderr:body:)`` returns: the process's number may be another's afterwards.
    func ended() { state.withLock { $0.process = nil } }

    func heard() { state.withLock { $0.clock.heard(at: now()) } }
    func blocked() { state.withLock { $0.clock.blocked(at: now()) } }
    func unblocked() { state.withLock { $0.clock.unblocked(at: now()) } }
    func ending() { state.withLock { $0.clock.ending(at: now()) } }

    var processID: Int32? { state.withLock { $0.process?.id } }
    var isInterrupted: Bool { state.withLock { $0.isInterrupted } }
    var failure: RuntimeError? { state.withLock { $0.failure } }

    /// Nobody wants the answer any more: asks the program to end, kills it if it does not.
    func interrupt() {
        state.withLock { state in
            state.isInterrupted = true
            state.clock.ending(at: now())
            state.process?.signal(.interrupt)
        }
    }

    /// Ends the answer with an error, and the program at once.
    func fail(_ error: RuntimeError) {
        // First: whoever reads the program's output may be waiting for room.
        mailbox.fail(error)
        state.withLock { state in
            state.failure = state.failure ?? error
            state.clock.ending(at: now())
            state.process?.signal(.kill)
        }
    }

    /// Looks at the clock, and now and then at the program, until the task is cancelled.
    func watch(every tick: Duration, beat: Duration) async {
        var pulse = Pulse()
        var beaten = now()
        while (try? await Task.sleep(for: tick)) != nil {
            if now() - beaten >= beat {
                beaten = now()
                let stands = state.withLock { state in
                    pulse.beat(isAsked: state.clock.isAsked(at: now()), ticks: state.process?.ticks)
                }
                if stands { fail(RuntimeError(.engineFailed, "the engine was given up: \(Pulse.reason)")) }
            }
            switch state.withLock({ $0.clock.verdict(at: now()) }) {
            case .failed(let error): fail(error)
            case .overdue: state.withLock { $0.process?.signal(.kill) }
            case nil: break
            }
        }
    }
}
