internal import Core
internal import Synchronization

/// Whether this host gives its work away: where another host can, nothing new is begun with its engines, and what runs
/// goes on there.
package final class Drain: Sendable {
    private let state = Atomic(false)

    package init() {}

    package var isOn: Bool { state.load(ordering: .relaxed) }

    package func turn(on: Bool) {
        if on { failpoint("drain.begin") }
        state.store(on, ordering: .relaxed)
    }

    static var refusal: RuntimeError {
        RuntimeError(.unavailable, "this host is being emptied and begins nothing new; ask another one")
    }
}

/// How far a host is with giving its work away.
package struct DrainReport: Hashable, Sendable {
    package var isOn: Bool
    /// What its engines still do, and what waits for them.
    package var running: Int
    package var waiting: Int

    package init(isOn: Bool, running: Int, waiting: Int) {
        self.isOn = isOn
        self.running = running
        self.waiting = waiting
    }
}
