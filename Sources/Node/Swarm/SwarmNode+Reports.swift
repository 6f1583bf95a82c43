package import Core
internal import Swarm

/// What the roof asks.
extension SwarmNode {
    package func hosts() async -> [HostReport] {
        let lags = Dictionary(uniqueKeysWithValues: await writer.lags.map { ($0.peer, $0) })
        let members = Dictionary(uniqueKeysWithValues: membership.members.map { ($0.node, $0) })
        var reports = [own()]
        var seen: Set<NodeID> = [setup.node]
        for host in mesh.hosts {
            if let node = host.node { seen.insert(node) }
            reports.append(report(host, host.node.flatMap { members[$0] }, host.node.flatMap { lags[$0] }))
        }
        // Known only from what others say: never met here.
        for member in membership.members where !seen.contains(member.node) {
            reports.append(report(member))
        }
        let convicted = Dictionary(grouping: await writer.convicted, by: \.node)
        for index in reports.indices {
            guard reports[index].whyNot == nil, let streams = reports[index].id.flatMap({ convicted[$0] }) else {
                continue
            }
            reports[index].whyNot = Self.conviction(of: streams)
        }
        return reports
    }

    private static func conviction(of streams: [Origin]) -> String {
        "It signed two different operations under one number (stream \(streams.map(\.description).joined(separator: ", "))): "
            + "its identity was in use twice, or it is hostile. Nothing more of that stream is taken. Was its disk copied? "
            + "Then delete node.key on the copy; otherwise shut it out with igris-runtime swarm evict."
    }

    /// Who is in the swarm at present, this host too: those that are not held for dead.
    package func living() -> Set<NodeID> {
        Set(states.filter { $0.value == .alive || $0.value == .suspect }.keys).union([setup.node])
    }

    /// Where a member may be reached, the best first.
    package func addresses(of node: NodeID) -> [NetworkAddress] {
        let met = mesh.hosts.first { $0.node == node }?.addresses ?? []
        let told = membership.members.first { $0.node == node }?.facts.addresses ?? []
        return met + told.filter { !met.contains($0) }
    }

    private func own() -> HostReport {
        HostReport(
            id: setup.node, isSelf: true, name: setup.name,
            address: facts.addresses.first ?? NetworkAddress(host: "127.0.0.1", port: port),
            state: isEvicted ? .evicted : .alive, whyNot: isEvicted ? "It was evicted: \(Self.wayBack)." : nil,
            lastSeen: setup.wallClock(), version: setup.version, zone: setup.zone, models: facts.models, swarm: swarm)
    }

    private func report(_ host: MeshHost, _ member: Member?, _ lag: Replication.Lag?) -> HostReport {
        HostReport(
            id: host.node, name: member?.facts.name ?? host.name,
            address: host.addresses.first ?? NetworkAddress(host: "0.0.0.0", port: port),
            state: Self.state(host, member), whyNot: host.node.flatMap { exclusion(of: $0) } ?? host.whyNot,
            lastSeen: wall(max(host.lastSeen, member?.heard ?? .zero)), roundTrip: host.roundTrip,
            behind: lag?.behind ?? 0, ahead: lag?.ahead ?? 0, isCompared: lag?.isGreeted,
            version: member?.facts.version ?? host.version,
            role: member?.facts.role ?? "worker", zone: member?.facts.zone ?? "", models: member?.facts.models ?? [],
            channels: host.channels, swarm: host.swarm, clockSkew: skew(of: host),
            reputation: reputation(host, member),
            isExcluded: host.node.map { reputations.isExcluded($0) } ?? false)
    }

    /// Of those that were met. With nothing seen yet there is nothing to complain of.
    private func reputation(_ host: MeshHost, _ member: Member?) -> Int? {
        let score = host.node.flatMap { reputations[$0]?.score }
        return score ?? (member != nil || host.standing == .linked ? 100 : nil)
    }

    private func report(_ member: Member) -> HostReport {
        HostReport(
            id: member.node, name: member.facts.name,
            address: member.facts.addresses.first ?? NetworkAddress(host: "0.0.0.0", port: port),
            state: HostReport.State(rawValue: member.state.rawValue) ?? .connecting,
            lastSeen: wall(member.heard ?? member.since), version: member.facts.version, role: member.facts.role,
            zone: member.facts.zone, models: member.facts.models, channels: [.peer], swarm: swarm,
            reputation: reputations[member.node]?.score, isExcluded: reputations.isExcluded(member.node))
    }

    /// What keeps hosts apart counts more than what members say of it.
    private static func state(_ host: MeshHost, _ member: Member?) -> HostReport.State {
        switch host.standing {
        case .foreign: return .foreign
        case .evicted: return .evicted
        case .incompatible: return .incompatible
        case .cloned: return .cloned
        case .linked, .connecting, .unreachable: break
        }
        if let member { return HostReport.State(rawValue: member.state.rawValue) ?? .alive }
        switch host.standing {
        case .linked: return .alive
        case .unreachable: return .unreachable
        default: return .connecting
        }
    }

    /// A time since the start as milliseconds since 1970.
    private func wall(_ time: Duration) -> UInt64 {
        let ago = max(now - time, .zero)
        let milliseconds =
            UInt64(clamping: ago.components.seconds) &* 1_000
            &+ UInt64(clamping: ago.components.attoseconds / 1_000_000_000_000_000)
        let wall = setup.wallClock()
        return wall > milliseconds ? wall - milliseconds : 0
    }

    package func swarmStatus() async -> SwarmReport {
        let digest = await writer.digest.hex
        let vector = await writer.vector
        let divergences = await writer.tally.divergences
        let channels = await setup.discovery.status()
        return SwarmReport(
            node: setup.node, name: setup.name, instance: setup.instance, swarm: swarm,
            security: setup.security, phase: phases.last?.phase ?? .starting, phases: phases,
            alive: 1 + states.values.count { $0 == .alive }, suspect: states.values.count { $0 == .suspect },
            dead: states.values.count { $0 == .dead }, isTree: isTree, meshLimit: overlay.limit,
            linked: adopted.count, digest: digest,
            operations: vector.entries.reduce(0) { $0 + Int(clamping: $1.sequence) }, divergences: divergences,
            channels: channels, rotation: trust.report(wall: setup.wallClock()), warnings: warnings(divergences))
    }

    private func warnings(_ divergences: Int) -> [String] {
        var warnings: [String] = []
        if setup.security == .open {
            warnings.append(
                "the swarm is open: everyone on this network reads and writes all conversations; set a key with "
                    + "`igris-runtime swarm key` and mcp.open to false to close it")
        }
        if isEvicted {
            warnings.append("this host was evicted from its swarm: \(Self.wayBack)")
        }
        if divergences > 0 {
            warnings.append(
                "copies that should be equal are not (\(divergences) times): keep all stores and report it")
        }
        for host in mesh.hosts where host.standing == .cloned {
            warnings.append(host.whyNot ?? "two hosts carry one identity: remove node.key on one of them")
        }
        warnings += health.warnings.map { sentence($0) }
        for host in mesh.hosts {
            if let node = host.node, let reason = exclusion(of: node) { warnings.append("\(host.name) is \(reason)") }
        }
        return warnings
    }

    package func links() async -> [LinkReport] {
        let trips = Dictionary(
            mesh.hosts.compactMap { host in host.node.map { ($0, host.roundTrip) } }, uniquingKeysWith: { $1 })
        let own = adopted.sorted { $0.key < $1.key }.compactMap { node, number -> LinkReport? in
            guard let link = links[number]?.link else { return nil }
            return LinkReport(
                from: setup.node, to: node, roundTrip: trips[node] ?? nil, bytesSent: link.bytesSent,
                bytesReceived: link.bytesReceived)
        }
        // Those of the others, as they tell it: a second or two old.
        let others = membership.topology.links.filter { $0.first != setup.node && $0.second != setup.node }
        return own + others.map { LinkReport(from: $0.first, to: $0.second) }
    }

    package func swarmEvents() async -> AsyncStream<SwarmEvent> {
        board.listen { number in Task { await self.forgetListener(number) } }
    }

    private func forgetListener(_ number: Int) { board.forget(number) }

    package func diagnose() async -> [DiagnosticCheck] {
        await setup.doctor(
            SwarmView(
                swarm: swarm, hosts: await hosts(), channels: await setup.discovery.status(),
                send: { await self.consult($0, $1) }))
    }

    private func consult(_ node: NodeID, _ payload: [UInt8]) {
        if let number = adopted[node] { send(.diagnosis, payload, on: number) }
    }

    package func vector() async -> VersionVector { await writer.vector }

    // MARK: - Phases

    private static let phasesKept = 32
    private static let settling = Duration.seconds(5)

    func enter(_ phase: SwarmReport.Phase) {
        guard phases.last?.phase != phase else { return }
        phases.append(SwarmReport.PhaseChange(phase, at: setup.wallClock()))
        if phases.count > Self.phasesKept { phases.removeFirst() }
    }

    func updatePhase() {
        if !fetches.isEmpty {
            enter(.syncing)
        } else if !adopted.isEmpty {
            enter(.steady)
        } else if now > Self.settling {
            enter(.alone)
        }
    }
}
