package import Core
internal import Cryptography
internal import Logging
internal import Metrics
internal import Swarm

/// The swarm's key: what ``KeyRotation`` decides, done.
extension SwarmNode {
    /// Steps ``KeyRotation``. Effects that wait (the disk, new TLS contexts) are done in their order, off this actor's
    /// turn.
    func step(trust event: KeyRotation.Event) {
        guard !hasLeft else { return }
        let effects = trust.step(event, now: now, wall: setup.wallClock())
        guard !effects.isEmpty else { return }
        let before = trustTurn
        trustTurn = Task {
            await before?.value
            for effect in effects { await perform(effect) }
        }
    }

    private func perform(_ effect: KeyRotation.Effect) async {
        switch effect {
        case .send(let message, let node):
            if let number = adopted[node] { links[number]?.link.send(message) }
        case .persist(let ring, let revision):
            do {
                try await setup.keepRing(ring)
                step(trust: .persisted(revision))
            } catch {
                // The machine asks again; until then this host confirms nothing.
                log.error("the swarm's keys could not be kept", metadata: ["error": "\(error)"])
            }
        case .useKeys(let primary, let accepted): await use(primary, accepted)
        case .deny(let nodes):
            await setup.transport.deny(Set(nodes))
            step(mesh: .denied(Set(nodes)))
            for node in nodes { step(membership: .evicted(node)) }
        case .changed(let report):
            guard let report else { return }
            post("key_rotation", nil, report.phase.rawValue)
            log.notice(
                "key rotation",
                metadata: [
                    "rotation.phase": "\(report.phase.rawValue)", "rotation.confirmed": "\(report.confirmed.count)",
                    "rotation.waiting": "\(report.waiting.count)",
                ])
        case .evicted:
            step(mesh: .evicted)
            shutOut("a member has said so")
        }
    }

    /// This host was evicted.
    func shutOut(_ reason: String) {
        guard !isEvicted else { return }
        isEvicted = true
        post("node_evicted", setup.node, "this host was evicted")
        log.error(
            "this host was evicted from its swarm; it keeps its store, goes on alone and dials nobody",
            metadata: ["reason": "\(reason)", "next": "\(Self.wayBack)"])
    }

    static let wayBack =
        "stop it, remove node.key in its state directory and join again with `igris-runtime swarm join KEY` if that is "
        + "wanted"

    private func use(_ primary: SwarmKeys, _ accepted: [SwarmKeys]) async {
        let all = ([primary] + accepted).compactMap(\.swarm)
        guard let first = all.first else { return }
        setup.acceptedKeys.replace([primary] + accepted)
        swarm = first
        do {
            try await setup.transport.use(
                primary: primary.authority(of: first),
                accepted: accepted.compactMap { keys in keys.swarm.map { keys.authority(of: $0) } })
        } catch {
            log.error("new certificates could not be made", metadata: ["error": "\(error)"])
        }
        step(mesh: .swarms(all))
        if var announcement, announcement.swarm != first {
            announcement.swarm = first
            self.announcement = announcement
            await setup.discovery.announce(announcement)
        }
    }

    package func rotateKey(force: Bool) async throws -> RotationReport {
        guard setup.security == .key else {
            throw RuntimeError(.invalidRequest, "an open swarm has no secret to change; set mcp.open to false first")
        }
        failpoint("rotation.begin")
        if force {
            step(trust: .force)
        } else {
            do {
                step(trust: .begin(try SymmetricKey(random: 32)))
            } catch {
                throw RuntimeError(.system, "no random bytes can be had", cause: error)
            }
        }
        await trustTurn?.value
        guard let report = trust.report(wall: setup.wallClock()) else {
            throw RuntimeError(.invalidRequest, "there is no rotation to go on with; begin one without --force")
        }
        return report
    }

    package func evict(_ node: NodeID) async throws {
        guard setup.security == .key else {
            throw RuntimeError(
                .invalidRequest, "everyone may join an open swarm, evicted hosts too; set mcp.open to false first")
        }
        guard node != setup.node else {
            throw RuntimeError(.invalidRequest, "a host does not evict itself; ask another one", parameter: "id")
        }
        let isKnown =
            mesh.hosts.contains { $0.node == node } || membership.members.contains { $0.node == node }
        guard isKnown else { throw RuntimeError(.notFound, "no host with this id was ever heard of", parameter: "id") }
        do {
            step(trust: .evict(node, try SymmetricKey(random: 32)))
        } catch {
            throw RuntimeError(.system, "no random bytes can be had", cause: error)
        }
        await trustTurn?.value
    }
}

extension SwarmKeys {
    package var swarm: SwarmID? { Bytes16(tag).map(SwarmID.init) }

    package func authority(of swarm: SwarmID) -> SwarmAuthority {
        SwarmAuthority(swarm: swarm, seed: Secret(authority.reveal()))
    }
}
