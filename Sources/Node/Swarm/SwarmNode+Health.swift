internal import Core
internal import Logging
internal import Metrics
internal import Swarm

/// How its peers and this machine fare: reputations, partitions that end, trouble that is coming.
extension SwarmNode {
    /// Looked at now and then.
    func observeHealth() async {
        reputations.recover(now)
        await observePartitions()
        guard health.isDue(now) else { return }
        let linked = mesh.hosts.filter { $0.standing == .linked }
        for host in linked {
            if let node = host.node, states[node] == .alive { judge(node, .answered(host.roundTrip)) }
        }
        var sample = setup.resources()
        for host in linked {
            guard let node = host.node else { continue }
            sample.roundTrips[node] = host.roundTrip
            sample.clockSkews[node] = skew(of: host)
        }
        setup.heardClocks(linked.compactMap(clock(of:)))
        let before = Set(health.warnings.map(\.kind))
        health.observe(sample, at: now)
        // Said once in the log; the pages say it as long as it lasts.
        for warning in health.warnings where !before.contains(warning.kind) {
            log.warning("trouble ahead", metadata: ["warning": "\(sentence(warning))"])
        }
    }

    /// What a host's clock says now, in milliseconds since 1970, as far as can be told here.
    private func clock(of host: MeshHost) -> Int64? {
        host.clockAtZero.map { ($0 + now).milliseconds }
    }

    /// Its clock minus this machine's.
    func skew(of host: MeshHost) -> Duration? {
        clock(of: host).map { .milliseconds($0 - Int64(clamping: setup.wallClock())) }
    }

    private func observePartitions() async {
        guard partitions.isHealing else { return }
        let lags = await writer.lags
        let equal = lags.filter { $0.isGreeted && $0.behind == 0 && $0.ahead == 0 }.map(\.peer)
        guard let lasted = partitions.compared(equal: Set(equal), at: now) else { return }
        metrics.partitions.recordNanoseconds(lasted.nanoseconds)
        post("partition_healed", nil, "after \(lasted.roundedSeconds) s")
        log.notice(
            "a partition has healed: copies are equal", metadata: ["partition.seconds": "\(lasted.roundedSeconds)"])
    }

    /// What a peer did counts for its reputation; one without trust is shut out for a while.
    func judge(_ node: NodeID, _ event: Reputation.Event) {
        guard node != setup.node else { return }
        guard reputations.step(node, event, at: now) else { return }
        let reason = exclusion(of: node) ?? ""
        post("node_excluded", node, reason)
        log.warning("a peer is excluded", metadata: ["peer.id": "\(node)", "reason": "\(reason)"])
        if let number = adopted[node] { links[number]?.link.close() }
    }

    /// Why a peer is kept out for now; nil where it is not.
    func exclusion(of node: NodeID) -> String? {
        guard let reputation = reputations[node], let left = reputation.exclusionLeft else { return nil }
        let minutes = max(1, (left.components.seconds + 59) / 60)
        return "excluded: it sent \(reputation.forgeries) frames that no sound host sends, and is let in again in "
            + "\(minutes) min; look at its log, or shut it out for good with igris-runtime swarm evict"
    }

    func sentence(_ warning: HealthWatch.Warning) -> String {
        switch warning {
        case .diskLow(let free):
            "the disk of the store is nearly full, \(free.inMegabytes) MB are left: free some, or move mcp.storage_path"
        case .diskFilling(let free, let left):
            "the disk of the store fills: \(free.inMegabytes) MB are left, at this pace for \(left.inWords)"
        case .memoryLow(let free):
            "this machine has \(free.inMegabytes) MB of memory left: end something, or use a smaller model"
        case .memoryFalling(let free, let left):
            "memory runs out: \(free.inMegabytes) MB are left, at this pace for \(left.inWords)"
        case .slower(let node, let from, let to):
            "\(name(of: node)) answers more slowly: in \(to.inMilliseconds) ms instead of \(from.inMilliseconds) ms; look "
                + "at its load and at the network between"
        case .clockSkew(let node, let skew):
            "the clock of \(name(of: node)) is \(skew.magnitudeInSeconds) s \(skew > .zero ? "ahead of" : "behind") this "
                + "host's: set the one that is wrong (timedatectl set-ntp true); turns may be shown out of order"
        case .ownClock(let skew):
            "this host's clock is about \(skew.magnitudeInSeconds) s \(skew > .zero ? "ahead of" : "behind") all others: "
                + "set it (timedatectl set-ntp true); turns may be shown out of order"
        }
    }

    /// A name that may be several hosts' stands with the id.
    private func name(of node: NodeID) -> String {
        let names = mesh.hosts.map(\.name)
        let name = mesh.host(node)?.name ?? ""
        let isOnlyOne = name != setup.name && names.count { $0 == name } == 1
        let short = node.description.prefix(12)
        return name.isEmpty ? "host \(short)" : isOnlyOne ? name : "\(name) (\(short))"
    }
}

extension HealthWatch.Warning {
    /// The same trouble with other figures is the same trouble.
    fileprivate var kind: String {
        switch self {
        case .diskLow: "disk_low"
        case .diskFilling: "disk_filling"
        case .memoryLow: "memory_low"
        case .memoryFalling: "memory_falling"
        case .slower(let node, _, _): "slower \(node)"
        case .clockSkew(let node, _): "clock \(node)"
        case .ownClock: "own_clock"
        }
    }
}

extension UInt64 {
    fileprivate var inMegabytes: UInt64 { self >> 20 }
}

extension Duration {
    fileprivate var nanoseconds: Int64 {
        let (seconds, product) = components.seconds.multipliedReportingOverflow(by: 1_000_000_000)
        return product ? .max : seconds.addingReportingOverflow(components.attoseconds / 1_000_000_000).partialValue
    }

    fileprivate var milliseconds: Int64 {
        let (seconds, attoseconds) = components
        return seconds.multipliedReportingOverflow(by: 1_000).partialValue &+ attoseconds / 1_000_000_000_000_000
    }

    fileprivate var roundedSeconds: Int64 { Int64((self / .seconds(1)).rounded()) }

    fileprivate var magnitudeInSeconds: Int64 { Swift.abs(roundedSeconds) }

    fileprivate var inMilliseconds: Int64 { Int64((self / .milliseconds(1)).rounded()) }

    fileprivate var inWords: String {
        let minutes = components.seconds / 60
        return minutes < 120 ? "\(Swift.max(1, minutes)) min" : "\(minutes / 60) h"
    }
}
