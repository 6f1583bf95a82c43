import Core
import Node
import Swarm

/// `GET /v1/swarm/capacity`: what the swarm had to do at most, and how many hosts that asks for.
struct CapacityPage: Sendable {
    let capacity: Capacity

    func reply() async -> Reply {
        let report = await capacity.report()
        return Reply([
            "object": "capacity", "window_seconds": .integer(await capacity.window.components.seconds),
            "hosts": .integer(Int64(report.hosts)), "requests": .integer(Int64(report.now)),
            "peak_requests": .integer(Int64(report.peak)), "slots": .integer(Int64(report.slots)),
            "requests_per_host": .number(report.perHost), "headroom": .number(CapacityPlan.headroom),
            "recommended_hosts": .integer(Int64(report.desired)),
        ])
    }
}
