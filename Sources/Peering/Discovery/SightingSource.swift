import Core
import Metrics
import Synchronization

/// One way of finding hosts, as ``LANDiscovery`` drives it. None of them fails: what does not work is a state.
protocol SightingSource: Sendable {
    var board: StatusBoard { get }
    /// Announces and listens until the task is cancelled, then says goodbye.
    func run(_ announcement: Announcement) async
    func announce(_ announcement: Announcement) async
}

/// How a source fares. Outside of its actor, so that whoever asks never waits for a library that hangs.
final class StatusBoard: Sendable {
    private let state: Mutex<DiscoveryStatus>
    private let announced: Counter
    private let heard: Counter
    private let thrownAway: Counter

    init(_ channel: DiscoveryChannel, _ state: DiscoveryStatus.State, _ detail: String) {
        let dimensions = [("channel", channel.rawValue)]
        announced = Counter(label: "igris_announcements_total", dimensions: dimensions)
        heard = Counter(label: "igris_announcements_received_total", dimensions: dimensions)
        thrownAway = Counter(label: "igris_announcements_refused_total", dimensions: dimensions)
        self.state = Mutex(DiscoveryStatus(channel: channel, state: state, detail: detail))
    }

    var status: DiscoveryStatus { state.withLock { $0 } }

    func set(_ new: DiscoveryStatus.State, _ detail: String) {
        state.withLock {
            $0.state = new
            $0.detail = detail
        }
    }

    /// An announcement left; of a seed, a question for its address.
    func sent(at now: UInt64) {
        announced.increment()
        state.withLock {
            $0.sent += 1
            $0.lastSent = now
        }
    }

    func received(at now: UInt64) {
        heard.increment()
        state.withLock {
            $0.received += 1
            $0.lastReceived = now
        }
    }

    func refused() {
        thrownAway.increment()
        state.withLock { $0.refused += 1 }
    }
}
