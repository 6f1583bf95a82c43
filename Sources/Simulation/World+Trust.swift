import Core
import Cryptography
import Swarm

/// ``KeyRotation``, as `SwarmNode` drives it; only where rotations are among the faults.
extension World {
    static let trustTick = Duration.milliseconds(200)

    mutating func tell(_ event: KeyRotation.Event, at host: Int) {
        guard let process = hosts[host].process, process.trust != nil else { return }
        let wall = hosts[host].clock.milliseconds(at: now)
        let effects = process.trust?.step(event, now: time(of: process, host), wall: wall) ?? []
        for effect in effects { perform(effect, at: host) }
    }

    private mutating func perform(_ effect: KeyRotation.Effect, at host: Int) {
        guard let process = hosts[host].process else { return }
        switch effect {
        case .send(let bytes, let node):
            if let link = process.adopted[node] { send(bytes, over: link, from: host) }
        case .persist(let ring, let revision):
            let done = now + disks.tailed(hosts[host].diskDelay)
            queue.add(.ringKept(host: host, run: hosts[host].run, ring: ring, revision: revision), at: done)
        case .useKeys(let primary, let accepted):
            process.shown = primary.swarm
            process.accepted = Set(accepted.map(\.swarm))
            trace.note(18, UInt64(host), process.shown.bytes.low, at: now, "host \(host) shows \(process.shown)")
            tell(.swarms([primary.swarm] + accepted.map(\.swarm)), at: host)
            for id in network.connections(of: hosts[host].end) where linkKeys[id].map(process.takes) == false {
                // The certificate counts no longer.
                close(LinkNumber(UInt64(id)), at: host)
            }
        case .deny(let nodes):
            process.denied = Set(nodes)
            tell(.denied(Set(nodes)), at: host)
            for node in nodes { evict(node, at: host) }
        case .changed(let report):
            let words = report.map { "\($0.phase), waits for \($0.waiting.count)" } ?? "none"
            trace.note(19, UInt64(host), at: now, "host \(host): rotation \(words)")
        case .evicted:
            trace.note(20, UInt64(host), at: now, "host \(host) learns that it was evicted")
            tell(Mesh.Event.evicted, at: host)
        }
    }

    /// A full disk refuses; the machine asks again.
    mutating func ringKept(_ ring: [UInt8], _ revision: UInt64, at host: Int) {
        guard !hosts[host].isDiskFull else { return }
        hosts[host].ring = ring
        tell(KeyRotation.Event.persisted(revision), at: host)
    }

    /// Whether all have met the swarm: who never has is no member, nobody waits for it, and it needs the new key by hand.
    private var isComplete: Bool {
        hosts.allSatisfy { !$0.isMember || $0.hasJoined }
    }

    mutating func rotate(at host: Int) {
        guard hosts[host].power == .running, isComplete else { return }
        tell(KeyRotation.Event.begin(SymmetricKey(seeds.bytes(32))), at: host)
    }

    /// `victim` is shut out by the operator of `host`; not while that host has yet to hear of a member (one that joined
    /// on the other side of a cut): the evicted one under another name would look just so, and so it needs the new key
    /// by hand.
    mutating func evict(_ victim: Int, by host: Int) {
        guard hosts[host].power == .running, isComplete, let process = hosts[host].process,
            !process.denied.contains(hosts[host].node), let trust = process.trust,
            hosts.allSatisfy({ !$0.isMember || trust.knows($0.node) })
        else { return }
        hosts[victim].isEvicted = true
        tell(KeyRotation.Event.evict(hosts[victim].node, SymmetricKey(seeds.bytes(32))), at: host)
    }

    /// Under which key two hosts link: the dialing side tries those that it holds, the one in use first, and the other
    /// shows the certificate that it is asked for by name.
    func commonKey(of dialing: Int, and accepting: Int) -> SwarmID? {
        guard let one = hosts[dialing].process, let other = hosts[accepting].process else { return nil }
        return ([one.shown] + one.accepted.sorted { $0.bytes < $1.bytes }).first(where: other.takes)
    }

    /// Why a dial comes to nothing, if so.
    func refusal(of dialing: Int, by accepting: Int) -> LinkFailure.Reason? {
        guard let one = hosts[dialing].process, let other = hosts[accepting].process else { return nil }
        guard commonKey(of: dialing, and: accepting) != nil else { return .keyMismatch }
        if one.denied.contains(hosts[accepting].node) { return .denied }
        return other.denied.contains(hosts[dialing].node) ? .evicted : nil
    }

    // MARK: - What must hold

    /// Whether every member, running or not, has it on disk that an evicted host is denied: from then on it gets nothing.
    mutating func checkEviction() {
        guard evictionKnown == nil, let victim = hosts.first(where: \.isEvicted) else { return }
        let isKnown = hosts.allSatisfy { host in
            guard host.isMember else { return true }
            let saved = try? KeyRotation(node: host.node, root: host.root, saved: host.ring)
            return saved?.denied.contains(victim.node) == true && host.process?.denied.contains(victim.node) ?? true
        }
        if isKnown { evictionKnown = now }
    }

    /// Nobody honest is locked out, all show the same key and take no other, who was evicted has nothing that came later.
    mutating func checkRotation() {
        let members = hosts.indices.filter { hosts[$0].isMember }
        guard let first = members.first, let shown = hosts[first].process?.shown else { return }
        for host in members {
            guard let process = hosts[host].process else { continue }
            if process.shown != shown {
                checker.violated("key", "hosts \(first) and \(host) show different keys", at: now)
            }
            if !process.accepted.isEmpty {
                let waiting = process.trust?.report(wall: hosts[host].clock.milliseconds(at: now))?.waiting ?? []
                let names = hosts.indices.filter { waiting.contains(hosts[$0].node) }
                checker.violated("key", "host \(host) takes an old key still and waits for \(names)", at: now)
            }
        }
        for victim in hosts.indices where hosts[victim].isEvicted {
            if let process = hosts[victim].process, process.shown == shown, hosts[first].process?.trust != nil,
                shown != hosts[first].root.swarm
            {
                checker.violated("evicted", "host \(victim) was evicted and holds the new key", at: now)
            }
            guard let known = evictionKnown else {
                checker.violated("evicted", "not everyone knows that host \(victim) was evicted", at: now)
                continue
            }
            // What was on the wires by then may still come.
            let late = checker.acknowledged.filter { $0.value.at > known + .seconds(2) }.keys.sorted()
            if let dot = late.first(where: {
                hosts[victim].disk.image[$0] != nil && $0.origin.node != hosts[victim].node
            }) {
                checker.violated("evicted", "host \(victim) was evicted and holds \(dot)", at: now)
            }
        }
    }
}

extension SwarmKeys {
    var swarm: SwarmID { Bytes16(tag).map(SwarmID.init) ?? SwarmID(Bytes16(high: 0, low: 0)) }
}
