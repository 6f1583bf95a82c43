internal import Metrics
import Swarm

/// The instruments of ``LogWriter``.
struct LogMetrics: Sendable {
    let commitSeconds = Timer(label: "igris_store_commit_duration_seconds")
    let written = Counter(label: "igris_store_operations_total")
    let failures = Counter(label: "igris_store_commit_failures_total")
    let latency = Timer(label: "igris_sync_latency_seconds")
    private let sent = Counter(label: "igris_sync_operations_total", dimensions: [("direction", "out")])
    private let received = Counter(label: "igris_sync_operations_total", dimensions: [("direction", "in")])
    let bytesSent = Counter(label: "igris_sync_bytes_total", dimensions: [("direction", "out")])
    let bytesReceived = Counter(label: "igris_sync_bytes_total", dimensions: [("direction", "in")])
    private let pulls = Counter(label: "igris_sync_pulls_total")
    private let divergences = Counter(label: "igris_divergence_total")
    let damaged = Gauge(label: "igris_store_damaged_operations")
    let repaired = Counter(label: "igris_store_repaired_operations_total")
    let scrubs = Counter(label: "igris_store_scrubs_total")
    private let lag = Gauge(label: "igris_sync_lag_operations")
    private let proofs = Gauge(label: "igris_equivocations")
    private let unwritten = Gauge(label: "igris_store_unwritten_bytes")

    func record(_ machine: Replication) {
        lag.record(machine.lags.map(\.behind).max() ?? 0)
        proofs.record(machine.proofs.count)
        unwritten.record(machine.salvagedBytes)
    }

    /// What the machine has counted since `before`.
    func count(_ after: Replication.Tally, since before: Replication.Tally) {
        sent.increment(by: after.sent - before.sent)
        received.increment(by: after.received - before.received)
        pulls.increment(by: after.pulls - before.pulls)
        divergences.increment(by: after.divergences - before.divergences)
    }
}
