import Core
import Swarm

/// Hosts with ``Mesh`` on a simulated network: listening addresses, handshakes that take time, connections that open
/// at both ends at different moments, keep the order, and break. All of it from one seed.
struct MeshWorld {
    struct Host {
        var mesh: Mesh
        var node: NodeID
        var swarm: SwarmID
        var address: NetworkAddress
        var isUp = true
        var side = 0
        /// Wakes nobody, answers nothing.
        var isFrozen = false
        var timer: Duration?
        /// The other end of each connection: host, and its number of it.
        var ends: [LinkNumber: End] = [:]
        var used: [NodeID: LinkNumber] = [:]
        var adoptions: [NodeID: Int] = [:]
        var noticed: [MeshHost] = []
        var refusals: [NodeID] = []
        var dials: [Duration] = []
    }

    struct End: Hashable {
        var host: Int
        var number: LinkNumber
    }

    private enum Occurrence {
        case wake(Int)
        case connect(from: Int, to: NetworkAddress)
        case failed(Int, NetworkAddress, LinkFailure)
        case opened(Int, LinkNumber, of: Int, address: NetworkAddress, isDialed: Bool)
        case deliver(MeshMessage, to: Int, LinkNumber)
        case closed(Int, LinkNumber)
    }

    private(set) var now: Duration = .zero
    private(set) var hosts: [Host] = []
    private(set) var messages = 0
    private var random: Seeded
    private var queue = EventQueue<Occurrence>()
    private var lastLink: UInt64 = 0
    private var arrivals: [LinkNumber: Duration] = [:]

    static let home = SwarmID(Bytes16(high: 5, low: 5))
    static let abroad = SwarmID(Bytes16(high: 6, low: 6))

    init(hosts count: Int, seed: UInt64) {
        random = Seeded(seed)
        for index in 0..<count { add(id: index) }
    }

    static func node(_ index: Int) -> NodeID { NodeID(Bytes16(high: UInt64(index) &* 0x9E37_79B9, low: UInt64(index))) }
    static func address(_ index: Int) -> NetworkAddress { NetworkAddress(host: "10.0.0.\(index + 1)", port: 8080) }
    static func instance(_ number: Int) -> InstanceID { InstanceID(Bytes16(high: 9, low: UInt64(number))) }

    /// - Returns: its index. `id` may be one that another host has: a clone.
    @discardableResult
    mutating func add(id: Int, swarm: SwarmID = Self.home, security: SwarmSecurity = .key) -> Int {
        let index = hosts.count
        let identity = Mesh.Identity(
            node: Self.node(id), instance: Self.instance(index + 1), security: security, name: "host\(index)",
            version: "1", port: 8080, addresses: [Self.address(index)], started: 1_700_000_000_000 + milliseconds)
        hosts.append(
            Host(
                mesh: Mesh(identity, swarms: [swarm], seed: random.next()), node: Self.node(id), swarm: swarm,
                address: Self.address(index)))
        return index
    }

    private var milliseconds: UInt64 { UInt64(now / .milliseconds(1)) }

    // MARK: - What happens

    /// `index` hears of `other`, as an announcement tells it or as a bare address.
    mutating func sight(_ other: Int, at index: Int, by channel: DiscoveryChannel = .multicast, tag: SwarmID? = nil) {
        let host = hosts[other]
        let sighting =
            channel == .seed
            ? Sighting(channel: .seed, addresses: [host.address])
            : Sighting(
                channel: channel, addresses: [host.address], node: host.node, instance: Self.instance(other + 1),
                swarm: tag ?? host.swarm, security: .key, version: "1")
        step(.sighted(sighting), at: index)
    }

    mutating func say(_ event: Mesh.Event, at index: Int) { step(event, at: index) }

    mutating func kill(_ index: Int) {
        hosts[index].isUp = false
        for (_, end) in hosts[index].ends.sorted(by: { $0.key < $1.key }) {
            queue.put(.closed(end.host, end.number), at: now + delay())
        }
        hosts[index].ends = [:]
        hosts[index].used = [:]
    }

    /// Its end of everything is gone and nobody was told, as after pulled power.
    mutating func vanish(_ index: Int) {
        hosts[index].isUp = false
        hosts[index].ends = [:]
        hosts[index].used = [:]
    }

    /// The same host, started again at the same address.
    mutating func restart(_ index: Int) {
        let host = hosts[index]
        let identity = Mesh.Identity(
            node: host.node, instance: Self.instance(1000 + index), security: .key, name: "host\(index)", version: "1",
            port: 8080, addresses: [host.address], started: 1_700_000_000_000 + milliseconds)
        hosts[index] = Host(
            mesh: Mesh(identity, swarms: [host.swarm], seed: random.next()), node: host.node, swarm: host.swarm,
            address: host.address)
    }

    /// It accepts connections and says nothing.
    mutating func freeze(_ index: Int) { hosts[index].isFrozen = true }

    /// One end forgets the connection and the other does not hear of it.
    mutating func cut(_ index: Int, from other: Int) {
        guard let number = hosts[index].used[hosts[other].node] else { return }
        hosts[index].ends[number] = nil
        step(.closed(number), at: index)
    }

    mutating func run(for duration: Duration) {
        let end = now + duration
        while let next = queue.nextTime, next <= end, let (time, event) = queue.next() {
            now = time
            perform(event)
        }
        now = end
    }

    /// Every two hosts that run, belong together and have ids of their own share exactly one connection in use, and no
    /// other is open.
    func flaws() -> [String] {
        var flaws: [String] = []
        for (index, host) in hosts.enumerated() where host.isUp {
            for (other, peer) in hosts.enumerated() where peer.isUp && other > index && peer.swarm == host.swarm {
                guard let number = host.used[peer.node], let back = peer.used[host.node] else {
                    flaws.append("\(index) and \(other) have no link: \(host.used[peer.node] as Any)")
                    continue
                }
                if host.ends[number] != End(host: other, number: back) {
                    flaws.append("\(index) and \(other) use different links")
                }
            }
            if host.ends.count != host.used.count {
                flaws.append("\(index) has \(host.ends.count) connections and uses \(host.used.count)")
            }
        }
        return flaws
    }

    // MARK: - Events

    private func delay(_ random: inout Seeded) -> Duration { .microseconds(100 + random.below(3000)) }
    private mutating func delay() -> Duration { delay(&random) }

    private mutating func perform(_ event: Occurrence) {
        switch event {
        case .wake(let index):
            guard hosts[index].timer == now, hosts[index].isUp else { return }
            hosts[index].timer = nil
            step(.ticked, at: index)
        case .connect(let from, let address): connect(from, address)
        case .failed(let index, let address, let failure):
            if hosts[index].isUp { step(.failed(address, failure), at: index) }
        case .opened(let index, let number, let other, let address, let isDialed):
            guard hosts[index].isUp, hosts[index].ends[number] != nil else { return }
            step(
                .opened(
                    number, node: hosts[other].node, swarm: hosts[other].swarm, address: address, isDialed: isDialed),
                at: index)
        case .deliver(let message, let to, let number):
            guard hosts[to].isUp, hosts[to].ends[number] != nil else { return }
            guard !hosts[to].isFrozen else { return queue.put(event, at: now + .milliseconds(100)) }
            step(.received(number, message), at: to)
        case .closed(let index, let number):
            guard hosts[index].isUp, hosts[index].ends.removeValue(forKey: number) != nil else { return }
            step(.closed(number), at: index)
        }
    }

    private mutating func connect(_ from: Int, _ address: NetworkAddress) {
        guard hosts[from].isUp else { return }
        guard let to = hosts.firstIndex(where: { $0.address == address && $0.side == hosts[from].side }) else {
            return queue.put(
                .failed(from, address, LinkFailure(.timedOut, "no answer")), at: now + .seconds(3))
        }
        guard hosts[to].isUp else {
            return queue.put(.failed(from, address, LinkFailure(.refused, "refused")), at: now + delay())
        }
        guard hosts[to].swarm == hosts[from].swarm else {
            return queue.put(.failed(from, address, LinkFailure(.keyMismatch, "another key")), at: now + delay())
        }
        lastLink += 2
        let (here, there) = (LinkNumber(lastLink), LinkNumber(lastLink + 1))
        hosts[from].ends[here] = End(host: to, number: there)
        hosts[to].ends[there] = End(host: from, number: here)
        let opening = now + delay()
        arrivals[here] = opening + delay()
        arrivals[there] = opening + delay()
        queue.put(
            .opened(to, there, of: from, address: hosts[from].address, isDialed: false), at: arrivals[there] ?? now)
        queue.put(.opened(from, here, of: to, address: address, isDialed: true), at: arrivals[here] ?? now)
    }

    private mutating func step(_ event: Mesh.Event, at index: Int) {
        let effects = hosts[index].mesh.step(event, now: now, wallClock: 1_700_000_000_000 + milliseconds)
        let wake = max(hosts[index].mesh.wake, now + .microseconds(1))
        if hosts[index].timer.map({ $0 > wake }) ?? true {
            hosts[index].timer = wake
            queue.put(.wake(index), at: wake)
        }
        for effect in effects {
            switch effect {
            case .dial(let address):
                hosts[index].dials.append(now)
                queue.put(.connect(from: index, to: address), at: now + delay())
            case .send(let number, let message):
                messages += 1
                guard let end = hosts[index].ends[number] else { continue }
                let arrival = max(now + delay(), (arrivals[end.number] ?? .zero) + .microseconds(1))
                arrivals[end.number] = arrival
                queue.put(.deliver(message, to: end.host, end.number), at: arrival)
            case .close(let number):
                guard let end = hosts[index].ends.removeValue(forKey: number) else { continue }
                let arrival = max(now + delay(), (arrivals[end.number] ?? .zero) + .microseconds(1))
                arrivals[end.number] = arrival
                queue.put(.closed(end.host, end.number), at: arrival)
            case .adopted(let number, let node, _):
                hosts[index].used[node] = number
                hosts[index].adoptions[node, default: 0] += 1
            case .lost(_, let node, _): hosts[index].used[node] = nil
            case .refused(let node): hosts[index].refusals.append(node)
            case .noticed(let host): hosts[index].noticed.append(host)
            case .reachable, .full, .evicted: break
            }
        }
    }
}
