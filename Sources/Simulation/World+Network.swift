import Core
import Swarm

/// What happens on the wires.
extension World {
    /// How long a system waits for the other's acknowledgement before it gives a connection up.
    private static let patience = Duration.seconds(10)

    mutating func sendItem(_ item: Network.Item, over id: Int, to side: Int) {
        guard let connection = network.connections[id] else { return }
        let lane = connection.lanes[side]
        if lane.isVoid {
            // A machine that is on again does not know this connection; one that is off says nothing.
            let target = connection.ends[side].host
            if hosts[target].power != .off, !network.isBlocked(target, connection.ends[1 - side].host) {
                queue.add(.arrive(.end, connection: id, side: 1 - side), at: now + network.latency * 2)
            } else {
                queue.add(.lapsed(connection: id, side: 1 - side, since: now), at: now + Self.patience)
            }
            return
        }
        let wasHeld = lane.heldSince != nil
        if let arrival = network.send(item, over: id, to: side, at: now, &wire) {
            queue.add(.arrive(item, connection: id, side: side), at: arrival)
        } else if !wasHeld, let since = network.connections[id]?.lanes[side].heldSince {
            queue.add(.lapsed(connection: id, side: 1 - side, since: since), at: now + Self.patience)
            if network.isSlow(id, to: side) { queue.add(.trickle(connection: id, side: side), at: now) }
        }
    }

    mutating func trickle(_ id: Int, _ side: Int) {
        guard let (item, arrival, next) = network.trickle(id, to: side, at: now, &wire) else { return }
        queue.add(.arrive(item, connection: id, side: side), at: arrival)
        queue.add(.trickle(connection: id, side: side), at: max(next, now + .microseconds(1)))
        if let since = network.connections[id]?.lanes[side].heldSince {
            queue.add(.lapsed(connection: id, side: 1 - side, since: since), at: now + Self.patience)
        }
    }

    /// The sender at `side` has waited in vain since `since`.
    mutating func lapse(_ id: Int, _ side: Int, _ since: Duration) {
        guard let lane = network.connections[id]?.lanes[1 - side] else { return }
        guard lane.isVoid || lane.heldSince == since else { return }
        queue.add(.arrive(.end, connection: id, side: side), at: now)
        if !lane.isVoid { network.void(id, lane: 1 - side) }
    }

    /// Nobody reads at `side` any more: its system says so to the sender, also of a connection that it has given up.
    mutating func reset(_ id: Int, from side: Int) {
        guard let ends = network.connections[id]?.ends, !network.isBlocked(ends[side].host, ends[1 - side].host) else {
            return
        }
        queue.add(.arrive(.end, connection: id, side: 1 - side), at: now + network.latency)
    }

    mutating func unblock(_ pair: Network.Pair) {
        for (id, side) in network.unblock(pair.from, pair.to) { release(id, side) }
    }

    mutating func release(_ id: Int, _ side: Int) {
        if network.isSlow(id, to: side) {
            queue.add(.trickle(connection: id, side: side), at: now)
        } else {
            for (item, arrival) in network.release(id, to: side, at: now, &wire) {
                queue.add(.arrive(item, connection: id, side: side), at: arrival)
            }
        }
    }

    /// The shell of `host` asks for a connection.
    ///
    /// - Parameter waited: how long its system has asked in vain. It asks again after a second.
    mutating func dial(_ address: NetworkAddress, from host: Int, waited: Duration = .zero) {
        let run = hosts[host].run
        func repeatLater(_ world: inout World) {
            let (due, end) = (waited + .seconds(1), Limits.linkConnect)
            if due < end, waited == .zero {
                let next = Event.redial(host: host, run: run, address, waited: due)
                world.queue.add(next, at: world.now + due - waited)
            } else {
                fail(&world, .timedOut, after: max(.zero, end - waited))
            }
        }
        func fail(_ world: inout World, _ reason: LinkFailure.Reason, after delay: Duration) {
            let failure = LinkFailure(reason, reason.rawValue)
            world.queue.add(.dialFailed(host: host, run: run, address, failure), at: world.now + delay)
        }
        guard let target = hosts.firstIndex(where: { $0.address == address }) else {
            return fail(&self, .unreachable, after: .seconds(3))
        }
        let trip = wire.tailed(network.latency) * 2
        if network.isBlocked(host, target) || network.isBlocked(target, host) {
            return repeatLater(&self)
        }
        switch hosts[target].power {
        case .off: fail(&self, .unreachable, after: .seconds(3))
        case .idle: fail(&self, .refused, after: trip)
        case .frozen:
            // Its system accepts for it, and nobody speaks until it goes on.
            guard waited < Limits.linkHandshake else { return fail(&self, .timedOut, after: .zero) }
            let (step, next) = (Duration.milliseconds(200), waited + .milliseconds(200))
            queue.add(.redial(host: host, run: run, address, waited: next), at: now + step)
        case .running:
            if let reason = refusal(of: host, by: target) { return fail(&self, reason, after: trip * 2) }
            // Two more round trips and the work of the handshake.
            queue.add(.dialed(host: host, run: run, address), at: now + trip * 3 + .milliseconds(3))
        }
    }

    /// The handshake is over at the dialing side: is the other one still there?
    mutating func finishDial(_ address: NetworkAddress, from host: Int) {
        let frozen = hosts.first { $0.address == address && $0.power == .frozen }
        guard frozen == nil else { return dial(address, from: host, waited: .milliseconds(200)) }
        guard let target = hosts.firstIndex(where: { $0.address == address }), hosts[target].power == .running,
            !network.isBlocked(host, target), !network.isBlocked(target, host),
            let key = commonKey(of: host, and: target)
        else {
            let failure = LinkFailure(.closed, "closed")
            return happen(.dialFailed(host: host, run: hosts[host].run, address, failure), at: host)
        }
        let id = network.connect(hosts[host].end, hosts[target].end)
        linkKeys[id] = key
        trace.note(5, UInt64(host), UInt64(target), UInt64(id), at: now, "connection \(id): \(host) to \(target)")
        opened(id, side: 1, at: target)
        opened(id, side: 0, at: host)
    }
}
