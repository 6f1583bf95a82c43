internal import Core
internal import Logging
internal import Metrics
internal import Swarm

/// What the machines decided, done.
extension SwarmNode {
    func perform(_ effect: Mesh.Effect) {
        switch effect {
        case .dial(let address):
            guard !saidGoodbye else { return }
            Task {
                do {
                    let link = try await setup.transport.dial(address)
                    if let reason = exclusion(of: link.peer.node) {
                        link.close()
                        return step(mesh: .failed(address, LinkFailure(.closed, reason)))
                    }
                    open(link)
                } catch let failure as LinkFailure {
                    step(mesh: .failed(address, failure))
                } catch {
                    step(mesh: .failed(address, LinkFailure(.closed, "the connection broke")))
                }
            }
        case .send(let number, let message): send(.mesh, message.encoded, on: number)
        case .close(let number): links[number]?.link.close()
        case .adopted(let number, let node, let greeting): adopt(number, node, greeting)
        case .lost(let number, let node, let isParting):
            guard adopted[node] == number else { return }
            adopted[node] = nil
            loads[node] = nil
            tellWriter(of: node) { await $0.unlinked(node) }
            step(membership: isParting ? .parted(node) : .unlinked(node))
            step(overlay: .unlinked(node))
            step(trust: .unlinked(node))
        case .full(let node): step(overlay: .full(node))
        case .evicted: shutOut("other hosts refuse it")
        case .refused(let node):
            step(membership: .refused(node))
            step(overlay: .refused(node))
        case .reachable(let addresses):
            facts.addresses = addresses
            step(membership: .changed(facts))
        case .noticed(let host): notice(host)
        }
    }

    private func adopt(_ number: LinkNumber, _ node: NodeID, _ greeting: Greeting) {
        guard let link = links[number]?.link else { return }
        adopted[node] = number
        log.notice(
            "linked",
            metadata: [
                "peer.id": "\(node)", "peer.name": "\(greeting.name)", "peer.address": "\(link.address)",
                "peer.version": "\(greeting.version)",
            ])
        let own = Set(setup.addresses(port).map(\.host))
        if IPAddress(link.address.host)?.isLoopback == false, !own.contains(link.address.host) {
            setup.metAnotherMachine()
        }
        tellWriter(of: node) { await $0.linked(node, send: { link.send($0) }, queued: { link.queuedBytes }) }
        send(.load, ownLoad.encoded, on: number)
        step(membership: .linked(node))
        step(overlay: .linked(node))
        step(trust: .linked(node))
        updatePhase()
    }

    func perform(_ effect: Membership.Effect) {
        switch effect {
        case .send(let message, let node):
            guard let number = adopted[node] else { return step(membership: .sendFailed(node)) }
            send(.membership, message.encoded, on: number)
        case .changed(let member):
            let before = states.updateValue(member.state, forKey: member.node)
            step(mesh: .member(member.node, member.state, addresses: member.facts.addresses))
            partitions.changed(member.node, member.instance, to: member.state, at: now)
            tellOverlay(member)
            guard before != member.state else { return }
            if member.state == .suspect { metrics.suspicions.increment() }
            if member.state == .suspect || member.state == .dead { judge(member.node, .failed) }
            post("node_\(member.state.rawValue)", member.node, member.facts.name)
            log.notice(
                "member \(member.state.rawValue)",
                metadata: ["peer.id": "\(member.node)", "peer.name": "\(member.facts.name)"])
            tellWriterWhoLives()
        case .forgot(let node):
            states[node] = nil
            partitions.forgot(node)
            step(overlay: .gone(node))
            tellWriterWhoLives()
        case .cloned(let node, _):
            post("node_cloned", node, "two living instances carry this identity")
            log.error(
                "two living instances carry one identity; stop one and remove its node.key",
                metadata: ["peer.id": "\(node)"])
        }
    }

    /// Who counts when a majority is wanted.
    private func tellWriterWhoLives() {
        let alive = 1 + states.values.count { $0 == .alive || $0 == .suspect }
        tellWriter(of: setup.node) { await $0.members(alive: alive) }
    }

    private func notice(_ host: MeshHost) {
        post("node_\(host.standing.rawValue)", host.node, host.whyNot ?? "")
        log.notice(
            "host \(host.standing.rawValue)",
            metadata: [
                "peer.id": "\(host.node.map(\.description) ?? "unknown")",
                "peer.address": "\(host.addresses.first.map(\.description) ?? "unknown")",
                "reason": "\(host.whyNot ?? "")",
            ])
    }

    func post(_ name: String, _ node: NodeID? = nil, _ detail: String = "") {
        board.post(SwarmEvent(name, at: setup.wallClock(), node: node, detail: detail))
    }

    func count(_ sighting: Sighting) {
        Counter(
            label: "igris_discovery_sightings_total", dimensions: [("channel", sighting.channel.rawValue)]
        ).increment()
    }
}
