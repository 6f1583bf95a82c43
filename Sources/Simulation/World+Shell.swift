import Core
import Swarm

/// The shell of the machines on one host: what `SwarmNode` and `LogWriter` do with sockets and a disk, done here with
/// the world's wires and disks, effect by effect in the same order.
extension World {
    mutating func start(_ host: Int) {
        hosts[host].run += 1
        hosts[host].power = .running
        hosts[host].deferred = []
        let run = hosts[host].run
        let wall = hosts[host].clock.milliseconds(at: now)
        let node = hosts[host].node
        var recovered = hosts[host].disk.recover(node, milliseconds: wall)
        if bug == .keptEpoch { recovered.origin = Origin(node: node, epoch: 1) }
        let process = HostProcess(
            hosts[host], recovered, at: now, wallClock: wall, seed: seeds.seed(), meshLimit: meshLimit,
            isTrusting: bug == .trustedRelay, isPlainSWIM: options.isPlainSWIM,
            rotates: faults.contains(.rotations))
        hosts[host].process = process
        trace.note(6, UInt64(host), UInt64(run), at: now, "host \(host) starts as \(recovered.origin.epoch)")
        queue.add(.beacon(host: host, run: run, number: 0), at: now + seeds.between(.zero, .milliseconds(100)))
        queue.add(.synced(host: host, run: run), at: now + .seconds(1))
        if run == 1 { queue.add(.client(host: host), at: now + workload.pause(&clients)) }
        perform(process.step(.swarms([process.shown]), now: .zero, wallClock: wall), at: host)
        tell(KeyRotation.Event.started, at: host)
        rearm(host)
    }

    /// What a host's process does about an event.
    mutating func happen(_ event: Event, at host: Int) {
        switch event {
        case .arrive(.message(let bytes), let connection, let side):
            network.arrived(bytes.count, over: connection, to: side)
            guard network.connections[connection]?.isOpen[side] == true else {
                return reset(connection, from: side)
            }
            received(bytes, over: connection, at: host)
            if bug == .repeatedMessage, bytes.first == LinkChannel.replication.rawValue, disks.hits(1, of: 20) {
                received(bytes, over: connection, at: host)
            }
        case .arrive(.end, let connection, let side):
            guard network.connections[connection]?.isOpen[side] == true else { return }
            network.close(connection, side: side)
            trace.note(7, UInt64(host), UInt64(connection), at: now, "host \(host): connection \(connection) ended")
            tell(.closed(LinkNumber(UInt64(connection))), at: host)
        case .redial(_, _, let address, let waited): dial(address, from: host, waited: waited)
        case .dialed(_, _, let address): finishDial(address, from: host)
        case .dialFailed(_, _, let address, let failure):
            trace.note(8, UInt64(host), at: now, "host \(host): \(address) \(failure.reason)")
            tell(.failed(address, failure), at: host)
        case .tick: tick(host)
        case .committed(_, _, let ticket): committed(ticket, at: host)
        case .synced:
            hosts[host].disk.sync()
            queue.add(.synced(host: host, run: hosts[host].run), at: now + .seconds(1))
        case .beacon(_, let run, let number): beacon(host, run, number)
        case .sighted(_, _, let sighting): tell(.sighted(sighting), at: host)
        case .client: clientActs(host)
        case .read(_, _, let read): self.read(read, at: host)
        case .reread(_, _, let write): reread(write, at: host)
        case .mend: mend(host)
        case .snapshotFailed(_, _, let peer): replicate(.snapshotEnded(from: peer, isWhole: false), at: host)
        case .snapshotPart: snapshotPart(at: host)
        case .ringKept(_, _, let ring, let revision): ringKept(ring, revision, at: host)
        case .answered(_, _, let question): answer(question, at: host)
        default: break
        }
        rearm(host)
    }

    // MARK: - Time

    /// One timer stands for all that the process waits for: the shells' own run at the same moments.
    private mutating func rearm(_ host: Int) {
        guard let process = hosts[host].process else { return }
        let time = max(process.started + process.wake, now + .milliseconds(1))
        if let armed = process.armed, armed <= time, armed > now { return }
        process.armed = time
        queue.add(.tick(host: host, run: hosts[host].run), at: time)
    }

    private mutating func tick(_ host: Int) {
        guard let process = hosts[host].process, let armed = process.armed, armed <= now else { return }
        process.armed = nil
        let time = time(of: process, host)
        // What the real shell's own timer tells it of a stopped or starved process.
        if now - armed > .milliseconds(100) {
            perform(process.step(.lagged(now - armed), now: time), at: host)
        }
        if process.meshWake <= time { tell(Mesh.Event.ticked, at: host) }
        if process.membershipWake <= time {
            perform(process.step(.ticked, now: time), at: host)
        }
        if process.overlayWake <= time { tell(Overlay.Event.ticked, at: host) }
        if process.trust != nil, process.trustWake <= time {
            process.trustWake = time + Self.trustTick
            tell(KeyRotation.Event.ticked, at: host)
        }
        if process.replicationWake <= time {
            process.ticked = time
            replicate(.ticked, at: host)
        }
    }

    /// What the machines of a host take for the time since its start.
    func time(of process: HostProcess, _ host: Int) -> Duration {
        guard bug == .wallClockAsTime else { return now - process.started }
        return .milliseconds(hosts[host].clock.milliseconds(at: now)) - .milliseconds(process.startedAt)
    }

    // MARK: - Links

    mutating func opened(_ connection: Int, side: Int, at host: Int) {
        guard let ends = network.connections[connection]?.ends else { return }
        let peer = hosts[ends[1 - side].host]
        guard let key = linkKeys[connection] else { return }
        // Of an accepted link the port is not the one that it listens on.
        let address =
            side == 0 ? peer.address : NetworkAddress(host: peer.address.host, port: 40_000 + connection % 20_000)
        tell(
            .opened(
                LinkNumber(UInt64(connection)), node: peer.node, swarm: key, address: address,
                isDialed: side == 0),
            at: host)
        rearm(host)
    }

    private mutating func received(_ bytes: [UInt8], over connection: Int, at host: Int) {
        guard let process = hosts[host].process, let channel = bytes.first.flatMap(LinkChannel.init(rawValue:)) else {
            return
        }
        trace.mix(bytes)
        let link = LinkNumber(UInt64(connection))
        guard let peer = peer(of: connection, host) else { return }
        let readable = trace.isRead ? described(bytes, channel) : ""
        trace.note(
            9, UInt64(host), UInt64(connection), UInt64(channel.rawValue), at: now,
            "host \(host) < \(peer.host): \(channel) \(readable)")
        let isAdopted = process.adopted[peer.node] == link
        if channel == .mesh {
            do {
                if let message = try MeshMessage.decode(Array(bytes.dropFirst())) {
                    tell(.received(link, message), at: host)
                }
            } catch {
                checker.violated("wire", "host \(host) cannot read a mesh message: \(error)", at: now)
            }
        }
        guard isAdopted else { return }
        let time = time(of: process, host)
        switch channel {
        case .membership:
            do {
                if let decoded = try MembershipMessage.decode(Array(bytes.dropFirst())) {
                    let message = bug == .deafToSuspicion ? decoded.without(hosts[host].node) : decoded
                    perform(
                        process.step(.received(message, from: peer.node), now: time), at: host)
                }
            } catch {
                checker.violated("wire", "host \(host) cannot read a membership message: \(error)", at: now)
            }
        case .replication:
            perform(process.step(.heard(peer.node), now: time), at: host)
            replicate(.received(bytes, from: peer.node), at: host)
        case .overlay:
            perform(process.step(.heard(peer.node), now: time), at: host)
            receivedBroadcast(Array(bytes.dropFirst()), from: peer.node, at: host)
        case .trust: tell(KeyRotation.Event.received(bytes, from: peer.node), at: host)
        case .mesh, .diagnosis, .load: break
        }
    }

    private func peer(of connection: Int, _ host: Int) -> (host: Int, node: NodeID)? {
        guard let ends = network.connections[connection]?.ends,
            let other = ends.first(where: { $0 != hosts[host].end })
        else { return nil }
        return (other.host, hosts[other.host].node)
    }

    private func described(_ bytes: [UInt8], _ channel: LinkChannel) -> String {
        let body = Array(bytes.dropFirst())
        switch channel {
        case .mesh: return (try? MeshMessage.decode(body)).map { "\($0)" } ?? "?"
        case .membership: return (try? MembershipMessage.decode(body)).map { "\($0)" } ?? "?"
        default: return body.hex
        }
    }

    mutating func send(_ bytes: [UInt8], over link: LinkNumber, from host: Int) {
        let connection = Int(link.rawValue)
        guard let side = network.side(of: hosts[host].end, in: connection),
            network.connections[connection]?.isOpen[side] == true
        else { return }
        sendItem(.message(bytes), over: connection, to: 1 - side)
    }

    mutating func close(_ link: LinkNumber, at host: Int) {
        let connection = Int(link.rawValue)
        guard let side = network.side(of: hosts[host].end, in: connection),
            network.connections[connection]?.isOpen[side] == true
        else { return }
        sendItem(.end, over: connection, to: 1 - side)
        network.close(connection, side: side)
        tell(.closed(link), at: host)
    }

    // MARK: - Mesh

    mutating func tell(_ event: Mesh.Event, at host: Int) {
        guard let process = hosts[host].process else { return }
        let wall = hosts[host].clock.milliseconds(at: now)
        perform(
            process.step(event, now: time(of: process, host), wallClock: wall), at: host)
    }

    private mutating func perform(_ effects: [Mesh.Effect], at host: Int) {
        for effect in effects {
            guard let process = hosts[host].process else { return }
            let time = time(of: process, host)
            switch effect {
            case .dial(let address): dial(address, from: host)
            case .send(let link, let message):
                send([LinkChannel.mesh.rawValue] + message.encoded, over: link, from: host)
            case .close(let link): if bug != .staleLink { close(link, at: host) }
            case .adopted(let link, let node, _):
                trace.note(10, UInt64(host), link.rawValue, at: now, "host \(host) adopts \(link) with \(node)")
                process.adopted[node] = link
                join(host, over: link)
                perform(process.step(.linked(node), now: time), at: host)
                replicate(.linked(node), at: host)
                tell(Overlay.Event.linked(node), at: host)
                tell(KeyRotation.Event.linked(node), at: host)
            case .lost(let link, let node, let isParting):
                trace.note(11, UInt64(host), link.rawValue, at: now, "host \(host) loses \(link) with \(node)")
                if process.adopted[node] == link { process.adopted[node] = nil }
                perform(process.step(isParting ? .parted(node) : .unlinked(node), now: time), at: host)
                replicate(.unlinked(node), at: host)
                tell(Overlay.Event.unlinked(node), at: host)
                tell(KeyRotation.Event.unlinked(node), at: host)
            case .full(let node): tell(Overlay.Event.full(node), at: host)
            case .evicted: break
            case .refused(let node):
                perform(process.step(.refused(node), now: time), at: host)
                tell(Overlay.Event.refused(node), at: host)
            case .reachable(let addresses):
                process.facts.addresses = addresses
                perform(process.step(.changed(process.facts), now: time), at: host)
            case .noticed(let other):
                trace.note(12, UInt64(host), at: now, "host \(host) notices \(other.addresses) \(other.standing)")
                if other.standing == .cloned { checker.clonesNamed += 1 }
            }
        }
    }

    /// It is a member for another from when that one has adopted the link as well.
    private mutating func join(_ host: Int, over link: LinkNumber) {
        let ends = network.connections[Int(link.rawValue)]?.ends.map(\.host) ?? []
        guard let other = ends.first(where: { $0 != host }), hosts[other].process?.adopted.values.contains(link) == true
        else { return }
        for end in [host, other] {
            hosts[end].hasJoined = true
            hosts[end].process?.hasMet = true
        }
    }

    // MARK: - Membership

    private mutating func perform(_ effects: [Membership.Effect], at host: Int) {
        for effect in effects {
            guard let process = hosts[host].process else { return }
            switch effect {
            case .send(let message, let node):
                let bytes = [LinkChannel.membership.rawValue] + message.encoded
                guard let link = process.adopted[node] else {
                    perform(process.step(.sendFailed(node), now: time(of: process, host)), at: host)
                    continue
                }
                send(bytes, over: link, from: host)
            case .changed(let member):
                trace.note(
                    13, UInt64(host), member.node.bytes.low, member.incarnation, at: now,
                    "host \(host): \(member.node) is \(member.state) \(member.incarnation)")
                if member.state == .dead, let other = hosts.first(where: { $0.node == member.node && $0.isUp }) {
                    checker.falselyDead(isStarved: other.isStarved)
                }
                tell(.member(member.node, member.state, addresses: member.facts.addresses), at: host)
                tellOverlay(member, at: host)
            case .forgot(let node): tell(Overlay.Event.gone(node), at: host)
            case .cloned: checker.clonesNamed += 1
            }
        }
    }

    mutating func evict(_ node: NodeID, at host: Int) {
        guard let process = hosts[host].process else { return }
        perform(process.step(.evicted(node), now: time(of: process, host)), at: host)
    }

    // MARK: - Discovery

    /// Beacons as `Peering` sends them: at once a few, then one every ten seconds.
    private mutating func beacon(_ host: Int, _ run: Int, _ number: Int) {
        guard let process = hosts[host].process else { return }
        let sighting = Sighting(
            channel: .multicast, addresses: [hosts[host].address], node: hosts[host].node,
            instance: process.instance, swarm: process.shown, security: .key, version: "1")
        for other in hosts.indices where other != host && hosts[other].isUp {
            let isLost = faults.contains(.deafness) && healed == nil ? seeds.hits(4, of: 5) : seeds.hits(1, of: 100)
            guard !network.isBlocked(host, other), !isLost else { continue }
            let arrival = now + seeds.tailed(network.latency)
            queue.add(.sighted(host: other, run: hosts[other].run, sighting), at: arrival)
        }
        let pauses: [Duration] = [.milliseconds(300), .milliseconds(700), .seconds(1), .seconds(2)]
        let pause = number < pauses.count ? pauses[number] : seeds.between(.seconds(9), .seconds(11))
        queue.add(.beacon(host: host, run: run, number: number + 1), at: now + pause)
    }
}
