import Core
import Swarm

/// ``Overlay``, as `SwarmNode` drives it.
extension World {
    mutating func tell(_ event: Overlay.Event, at host: Int) {
        guard let process = hosts[host].process else { return }
        perform(process.step(event, now: time(of: process, host)), at: host)
    }

    private mutating func perform(_ effects: [Overlay.Effect], at host: Int) {
        for effect in effects {
            guard let process = hosts[host].process else { return }
            switch effect {
            case .send(let message, let node):
                guard let link = process.adopted[node] else { continue }
                send([LinkChannel.overlay.rawValue] + message.encoded, over: link, from: host)
            case .deliver(let payload, let node, let hops):
                guard let batch = try? OperationBatchCodec.decode(payload) else {
                    checker.violated("wire", "host \(host) cannot read a broadcast of \(node)", at: now)
                    continue
                }
                trace.note(16, UInt64(host), UInt64(hops), at: now, "host \(host): broadcast after \(hops) hops")
                replicate(.broadcast(batch, from: node), at: host)
            case .neighbours(let nodes):
                trace.note(
                    17, UInt64(host), UInt64(nodes?.chosen.count ?? 0), at: now,
                    "host \(host) chooses \(nodes.map { "\($0.chosen)" } ?? "everyone")")
                if process.isTree != (nodes != nil) {
                    process.isTree = nodes != nil
                    replicate(.spreading(throughTree: nodes != nil), at: host)
                }
                tell(.neighbours(nodes), at: host)
            case .release(let node): tell(.release(node), at: host)
            }
        }
    }

    mutating func receivedBroadcast(_ bytes: [UInt8], from node: NodeID, at host: Int) {
        do {
            if let message = try OverlayMessage.decode(bytes) { tell(.received(message, from: node), at: host) }
        } catch {
            checker.violated("wire", "host \(host) cannot read an overlay message: \(error)", at: now)
        }
    }

    /// How a member stands to ``Membership`` is how it stands to the overlay.
    mutating func tellOverlay(_ member: Member, at host: Int) {
        switch member.state {
        case .alive: tell(Overlay.Event.joined([member.node]), at: host)
        case .dead, .left: tell(Overlay.Event.gone(member.node), at: host)
        case .suspect: break
        }
    }

    /// Nobody keeps more links than allowed, both sides use the same ones, and they hold all together.
    mutating func checkOverlay() {
        let running = hosts.indices.filter { hosts[$0].isMember && hosts[$0].isUp }
        var reached: Set<Int> = []
        var border = Array(running.prefix(1))
        while let host = border.popLast() {
            guard reached.insert(host).inserted else { continue }
            let adopted = hosts[host].process?.adopted ?? [:]
            if adopted.count > meshLimit {
                checker.violated("degree", "host \(host) keeps \(adopted.count) links", at: now)
            }
            for other in running {
                guard let ours = adopted[hosts[other].node] else { continue }
                if hosts[other].process?.adopted[hosts[host].node] != ours {
                    checker.violated("links", "hosts \(host) and \(other) use different links", at: now)
                }
                border.append(other)
            }
        }
        if reached.count < running.count {
            let apart = running.filter { !reached.contains($0) }
            checker.violated("links", "no path of links leads from host \(running[0]) to \(apart)", at: now)
        }
    }
}
