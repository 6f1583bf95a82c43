package import Core
package import Logging
internal import Metrics
package import Swarm

/// Measures the work of the swarm as this host knows it, and says how many hosts it asks for: the shell of
/// ``CapacityPlan``.
package actor Capacity {
    private static let look = Duration.milliseconds(250)

    private let node: NodeID
    private let loads: @Sendable () async -> [NodeID: HostLoad]
    /// Tells whoever provides hosts: how many are wanted, and how many there are. Nil: nobody.
    private let hook: (@Sendable (_ desired: Int, _ hosts: Int) async -> Void)?
    private let log: Logger
    private var plan: CapacityPlan
    private var watch = DesireWatch()
    private var telling: Task<Void, Never>?
    private let start = ContinuousClock.now
    private let desired = Gauge(label: "igris_desired_hosts")
    private let peak = Gauge(label: "igris_capacity_peak_requests")
    private let perHost = Gauge(label: "igris_capacity_requests_per_host")

    package init(
        node: NodeID, window: Duration, loads: @escaping @Sendable () async -> [NodeID: HostLoad],
        hook: (@Sendable (_ desired: Int, _ hosts: Int) async -> Void)? = nil, log: Logger
    ) {
        self.node = node
        self.loads = loads
        self.hook = hook
        self.log = log
        plan = CapacityPlan(window: window)
    }

    private var now: Duration { ContinuousClock.now - start }

    package var window: Duration { plan.window }

    package func report() -> CapacityPlan.Report { plan.report(at: now) }

    /// Measures until the task is cancelled.
    package func run() async {
        while !Task.isCancelled {
            await observe()
            // Cancelled with the run.
            try? await Task.sleep(for: Self.look)
        }
        telling?.cancel()
    }

    private func observe() async {
        let loads = await loads()
        let models = loads.values.flatMap(\.models)
        plan.observed(
            busy: models.reduce(0) { $0 + $1.waiting + $1.running }, slots: models.reduce(0) { $0 + $1.slots },
            hosts: loads.count, at: now)
        let report = report()
        desired.record(report.desired)
        peak.record(report.peak)
        perHost.record(report.perHost)
        // One host speaks for all: the first by its id.
        guard let number = watch.observed(report.desired, hosts: report.hosts, at: now), let hook,
            loads.keys.min() == node
        else { return }
        log.notice(
            "another number of hosts is wanted",
            metadata: ["hosts.desired": "\(number)", "hosts.present": "\(report.hosts)"])
        let earlier = telling
        telling = Task {
            await earlier?.value
            guard !Task.isCancelled else { return }
            await hook(number, report.hosts)
        }
    }
}
