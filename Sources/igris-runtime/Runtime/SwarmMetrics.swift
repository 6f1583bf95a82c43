import Core
import Metrics
import Node
import Telemetry

/// What the metrics of the swarm mean, and those that are measured only when somebody looks. The others are counted by
/// the parts that do the work.
enum SwarmMetrics {
    static let descriptions: [MetricDescription] = [
        MetricDescription("igris_peers", "Other hosts that this one knows, by state."),
        MetricDescription("igris_link_rtt_seconds", "Time to a peer and back, NaN while there is no link with it."),
        MetricDescription("igris_peer_clock_skew_seconds", "A peer's clock minus ours, NaN where it is not known."),
        MetricDescription("igris_links", "Links of this host that are open."),
        MetricDescription("igris_swarm_links", "Links between hosts that are open, as the members tell it."),
        MetricDescription(
            "igris_overlay_active", "1 while a tree carries what is fresh, 0 while all are linked with all."),
        MetricDescription("igris_overlay_hops", "Hosts that a broadcast passed until here.", buckets: Buckets.counts),
        MetricDescription("igris_overlay_messages_total", "Messages of the tree that were sent."),
        MetricDescription("igris_overlay_duplicates_total", "Broadcasts that were here already."),
        MetricDescription(
            "igris_link_malformed_total", "Messages that made no sense; the link that brought them was closed."),
        MetricDescription(
            "igris_discovery_up", "1 while this way of finding hosts works, 0 while it does not or is off."),
        MetricDescription(
            "igris_announcements_total", "Announcements of this host that were sent; of seeds, questions for addresses."
        ),
        MetricDescription("igris_announcements_received_total", "Announcements of other hosts that were received."),
        MetricDescription(
            "igris_announcements_refused_total", "Announcements thrown away: forged, malformed or too many."),
        MetricDescription("igris_discovery_sightings_total", "Hints that a host may be reached somewhere."),
        MetricDescription(
            "igris_sync_latency_seconds", "From an operation's append at its origin, by its clock, to it being here.",
            buckets: Buckets.fineSeconds),
        MetricDescription("igris_sync_operations_total", "Operations exchanged with peers."),
        MetricDescription("igris_sync_bytes_total", "Bytes of replication exchanged with peers."),
        MetricDescription("igris_sync_pulls_total", "Gaps in another host's operations that were asked for."),
        MetricDescription("igris_sync_lag_operations", "Operations that peers have and this host has not."),
        MetricDescription(
            "igris_equivocations", "Streams of which it is proven that their author signed two different operations."),
        MetricDescription("igris_snapshot_bytes_total", "Bytes of snapshots handed out to other hosts."),
        MetricDescription(
            "igris_snapshot_pause_seconds", "How long a piece of a snapshot waited so that what is fresh goes first.",
            buckets: Buckets.fineSeconds),
        MetricDescription("igris_divergence_total", "Times that a peer with the same operations had another state."),
        MetricDescription("igris_membership_suspicions_total", "Times that a host was suspected to be dead."),
        MetricDescription(
            "igris_partition_recovery_seconds",
            "From the first doubt about a member that a partition cut off to equal copies again.",
            buckets: Buckets.longSeconds),
        MetricDescription(
            "igris_peer_forgeries_total", "Operations that a peer brought and that are not what their author signed."),
        MetricDescription(
            "igris_peer_reputation", "How far a peer may be relied on, from 0 to 100, by what this host has seen."),
    ]

    static func measure(_ swarm: any SwarmServices) async {
        let hosts = await swarm.hosts().filter { !$0.isSelf }
        for state in HostReport.State.allCases {
            Gauge(label: "igris_peers", dimensions: [("state", state.rawValue)])
                .record(hosts.count { $0.state == state })
        }
        for host in hosts {
            // Strangers come and go, and each would be a series for good.
            guard let id = host.id, host.state.isMember else { continue }
            let peer = [("peer", String(id.description.prefix(12)))]
            let isLinked = host.state == .alive || host.state == .suspect
            Gauge(label: "igris_link_rtt_seconds", dimensions: peer)
                .record(isLinked ? host.roundTrip.map(seconds) ?? .nan : .nan)
            if let reputation = host.reputation {
                Gauge(label: "igris_peer_reputation", dimensions: peer).record(reputation)
            }
            Gauge(label: "igris_peer_clock_skew_seconds", dimensions: peer)
                .record(host.clockSkew.map(seconds) ?? .nan)
        }
        let status = await swarm.swarmStatus()
        Gauge(label: "igris_links").record(status.linked)
        Gauge(label: "igris_swarm_links").record(await swarm.links().count)
        Gauge(label: "igris_overlay_active").record(status.isTree ? 1 : 0)
        for status in status.channels {
            Gauge(label: "igris_discovery_up", dimensions: [("channel", status.channel.rawValue)])
                .record(status.state == .on ? 1 : 0)
        }
    }

    private static func seconds(_ duration: Duration) -> Double {
        let (seconds, attoseconds) = duration.components
        return Double(seconds) + Double(attoseconds) / 1e18
    }
}
