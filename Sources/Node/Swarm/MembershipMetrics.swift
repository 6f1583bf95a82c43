internal import Metrics
internal import Swarm

/// The instruments of ``SwarmNode``. Made at its start, so that a page without suspicions says so.
struct MembershipMetrics: Sendable {
    let suspicions = Counter(label: "igris_membership_suspicions_total")
    let partitions = Timer(label: "igris_partition_recovery_seconds")
    let forgeries = Counter(label: "igris_peer_forgeries_total")
    let malformed = Dictionary(
        uniqueKeysWithValues: LinkChannel.allCases.map {
            ($0, Counter(label: "igris_link_malformed_total", dimensions: [("channel", "\($0)")]))
        })
}
