package import Core
package import Swarm

/// What the hosts tell each other of their work, for those who choose among them.
extension SwarmNode {
    private static let look = Duration.milliseconds(250)
    /// Said again even where nothing has changed: a host that is heard of is not believed for ever.
    private static let repetition = Duration.seconds(10)

    /// Tells the linked peers whenever this host's load has changed.
    func tellLoads() async {
        var toldAt = now
        var told = HostLoad()
        while !Task.isCancelled {
            let load = await setup.load()
            ownLoad = load
            setup.loadTold(setup.node)
            if load.differs(from: told) || now - toldAt >= Self.repetition {
                told = load
                toldAt = now
                for number in adopted.values { send(.load, load.encoded, on: number) }
            }
            // Cancelled with the run.
            try? await Task.sleep(for: Self.look)
        }
    }

    func receivedLoad(_ payload: [UInt8], from node: NodeID) throws {
        guard let load = try HostLoad.decode(payload) else { return }
        loads[node] = load
        setup.loadTold(node)
    }

    /// What those that live have told of their work, this host too.
    package func livingLoads() -> [NodeID: HostLoad] {
        var living = [setup.node: ownLoad]
        for member in membership.members where member.node != setup.node && member.state == .alive {
            living[member.node] = loads[member.node] ?? HostLoad()
        }
        return living
    }

    /// Everyone who has a model and is alive, this host too.
    package func candidates(for model: String) async -> [RouteCandidate] {
        var candidates: [RouteCandidate] = []
        if let hosted = facts.models.first(where: { $0.isCalled(model) }) {
            candidates.append(
                RouteCandidate(
                    node: setup.node, name: setup.name, isSelf: true, model: hosted, load: ownLoad, zone: setup.zone))
        }
        let roundTrips = Dictionary(
            mesh.hosts.compactMap { host in host.node.flatMap { node in host.roundTrip.map { (node, $0) } } },
            uniquingKeysWith: min)
        for member in membership.members where member.node != setup.node && member.state == .alive {
            guard let hosted = member.facts.models.first(where: { $0.isCalled(model) }) else { continue }
            candidates.append(
                RouteCandidate(
                    node: member.node, name: member.facts.name, model: hosted, load: loads[member.node],
                    roundTrip: roundTrips[member.node] ?? .milliseconds(1),
                    reputation: reputations[member.node]?.score ?? 100,
                    isExcluded: reputations.isExcluded(member.node), zone: member.facts.zone))
        }
        return candidates
    }
}

extension HostLoad {
    /// Enough to tell: what models do at once, what the machine does in steps.
    fileprivate func differs(from told: HostLoad) -> Bool {
        models.map(\.work) != told.models.map(\.work) || isDraining != told.isDraining
            || abs(processor - told.processor) >= 0.15 || abs(freeMemory - told.freeMemory) >= 0.05
    }
}

extension ModelLoad {
    private struct Work: Equatable {
        var name: String
        var waiting: Int
        var running: Int
        var slots: Int
    }

    fileprivate var work: some Equatable { Work(name: name, waiting: waiting, running: running, slots: slots) }
}
