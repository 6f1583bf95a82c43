internal import Core

/// How much of something a machine keeps, and the most that it may.
package struct Footprint: Hashable, Sendable {
    package var name: String
    package var size: Int
    package var limit: Int
    /// Nothing of it is left once all is quiet.
    package var isPassing = false
}

extension Replication {
    /// Everything that grows with what others say or with a slow disk.
    package var footprint: [Footprint] {
        [
            Footprint(
                name: "waiting batches, bytes", size: log.parked.bytes, limit: Limits.parkedBytes, isPassing: true),
            Footprint(name: "backlog, bytes", size: backlog, limit: Limits.backlogBytes, isPassing: true),
            Footprint(
                name: "outbox of a peer, bytes", size: peers.keys.compactMap { peers[$0]?.outboxBytes }.max() ?? 0,
                limit: Limits.linkQueueBytes, isPassing: true),
            Footprint(
                name: "pulls of a peer", size: peers.keys.compactMap { peers[$0]?.asked.count }.max() ?? 0,
                limit: Limits.knownHosts,
                isPassing: true),
            Footprint(
                name: "operations that the disk refused, bytes", size: salvagedBytes, limit: Limits.backlogBytes,
                isPassing: true),
            Footprint(name: "wanted origins", size: wants.count, limit: Limits.wantedOrigins, isPassing: true),
            Footprint(name: "traced origins", size: traces.count, limit: Self.tracesAtOnce, isPassing: true),
            Footprint(
                name: "contradictions to be proven", size: findings.count, limit: Self.tracesAtOnce, isPassing: true),
            Footprint(name: "proofs", size: proofs.count, limit: EquivocationProof.limit),
            Footprint(name: "challenged origins", size: challenged.count, limit: Limits.knownHosts),
            Footprint(name: "remembered members", size: members.count, limit: Limits.knownHosts),
        ]
    }
}

extension Membership {
    package var footprint: [Footprint] {
        [
            Footprint(name: "members", size: records.count, limit: Limits.knownHosts),
            Footprint(name: "suspicions", size: suspects.count, limit: Limits.knownHosts, isPassing: true),
            Footprint(
                name: "accusers of a suspect",
                size: records.values.compactMap { $0.suspicion?.accusers.count }.max() ?? 0,
                limit: Self.mostAccusers),
            Footprint(name: "members in the news", size: news.count, limit: Self.mostNews),
            Footprint(name: "errands", size: errands.count, limit: Limits.knownHosts),
            Footprint(name: "probes", size: probes.count, limit: Limits.knownHosts),
            Footprint(name: "rivals", size: rivals.count, limit: Self.mostRivals),
        ]
    }
}

extension Mesh {
    package var footprint: [Footprint] {
        [
            Footprint(name: "hosts", size: entries.count, limit: Limits.knownHosts),
            Footprint(name: "links in use", size: linkCount, limit: Limits.meshHosts),
            Footprint(name: "dials", size: dials.count, limit: Self.dialsAtOnce),
        ]
    }
}
