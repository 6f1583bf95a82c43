import Synchronization

/// How busy this machine's processors are, by /proc/stat.
package final class ProcessorShare: Sendable {
    private let last = Mutex<Ticks?>(nil)

    struct Ticks: Hashable, Sendable {
        var idle: UInt64
        var all: UInt64

        /// `cpu  user nice system idle iowait irq softirq steal …`: proc(5).
        init?(_ text: String) {
            let fields = text.prefix { $0 != "\n" }.split(separator: " ")
            guard fields.first == "cpu", fields.count > 5 else { return nil }
            // What guests used is in `user` already.
            let ticks = fields.dropFirst().prefix(8).map { UInt64($0) ?? 0 }
            idle = ticks[3] &+ ticks[4]
            all = ticks.reduce(0, &+)
        }

        func busy(since earlier: Ticks) -> Double? {
            guard all > earlier.all, idle >= earlier.idle, idle - earlier.idle <= all - earlier.all else { return nil }
            return 1 - Double(idle - earlier.idle) / Double(all - earlier.all)
        }
    }

    package init() {}

    /// From 0 to 1, since the last call; nil at the first, and where the system does not tell.
    package func sinceLast() -> Double? {
        guard let text = ProcessMetrics.text(of: "/proc/stat"), let now = Ticks(text) else { return nil }
        return last.withLock { last in
            defer { last = now }
            return last.flatMap { now.busy(since: $0) }
        }
    }
}
