package import Core
package import Swarm

/// A thousand hosts with ``Overlay`` and nothing else: links are there as soon as one side wants them, messages take up
/// to 2 ms, hosts die at once and in numbers.
package struct OverlayWorld {
    /// How far one broadcast came.
    package struct Reach: Hashable, Sendable {
        package var count = 0
        package var lastHops = 0
        package var sumOfHops = 0
        package var last: Duration = .zero
        /// Sent for each host but the author.
        package var payloads = 0.0
        package var notices = 0.0

        package init(count: Int = 0, last: Duration = .zero) {
            self.count = count
            self.last = last
        }

        package var meanHops: Double { count > 1 ? Double(sumOfHops) / Double(count - 1) : 0 }
    }

    private enum Occurrence {
        case wake(Int)
        case deliver(OverlayMessage, from: Int, to: Int)
    }

    package private(set) var now: Duration = .zero
    package private(set) var machines: [Overlay] = []
    private var isDead: [Bool]
    private var reached: [Bytes16: Reach] = [:]
    private var payloads = 0
    private var controls = 0
    private var links: [Set<Int>]
    private var timers: [Duration?]
    private var queue = EventQueue<Occurrence>()
    private var chance: Chance
    private var broadcasts: UInt64 = 0

    package init(hosts count: Int, limit: Int = Limits.meshHosts, seed: UInt64) {
        chance = Chance(seed: seed, stream: 7)
        isDead = Array(repeating: false, count: count)
        links = Array(repeating: [], count: count)
        timers = Array(repeating: nil, count: count)
        for index in 0..<count {
            machines.append(Overlay(node: Self.node(index), limit: limit, seed: chance.seed()))
        }
        let everyone = (0..<count).map { Self.node($0) }
        for index in 0..<count { step(.joined(everyone), at: index) }
    }

    /// In an order that has nothing to do with that of the indices.
    package static func node(_ index: Int) -> NodeID {
        var mixer = SplitMix64(seed: UInt64(index))
        return NodeID(Bytes16(high: mixer.next(), low: UInt64(index)))
    }

    private static func index(_ node: NodeID) -> Int { Int(node.bytes.low) }

    package var degrees: [Int] { links.indices.filter { !isDead[$0] }.map { links[$0].count } }

    /// Whether links lead from any living host to any other.
    package var isConnected: Bool {
        var reached: Set<Int> = []
        var border = Array(isDead.indices.filter { !isDead[$0] }.prefix(1))
        while let next = border.popLast() { if reached.insert(next).inserted { border += links[next] } }
        return reached.count == isDead.count { !$0 }
    }

    /// One broadcast and a second for it.
    package mutating func broadcast(from author: Int) -> Reach {
        let (payloads, controls, start) = (payloads, controls, now)
        broadcasts += 1
        var content = ByteWriter()
        content.put(bigEndian: broadcasts)
        let id = OverlayMessage.id(of: content.bytes)
        reached[id] = Reach(count: 1, last: start)
        step(.published(content.bytes), at: author)
        run(for: .seconds(1))
        var reach = reached[id] ?? Reach()
        let others = Double(max(1, reach.count - 1))
        reach.last -= start
        reach.payloads = Double(self.payloads - payloads) / others
        reach.notices = Double(self.controls - controls) / others
        return reach
    }

    /// They fall silent now; the others' links close then, and their membership follows with ``bury(_:)``.
    package mutating func kill(_ victims: [Int]) {
        for victim in victims { isDead[victim] = true }
        for victim in victims {
            for peer in links[victim].sorted() where !isDead[peer] {
                links[peer].remove(victim)
                step(.unlinked(Self.node(victim)), at: peer)
            }
            links[victim] = []
        }
    }

    package mutating func bury(_ victims: [Int]) {
        for victim in victims {
            for index in machines.indices where !isDead[index] { step(.gone(Self.node(victim)), at: index) }
        }
    }

    package mutating func run(for duration: Duration) {
        let end = now + duration
        while let next = queue.next, next <= end, let (time, event) = queue.removeFirst() {
            now = time
            switch event {
            case .wake(let index):
                guard timers[index] == now, !isDead[index] else { continue }
                timers[index] = nil
                step(.ticked, at: index)
            case .deliver(let message, let from, let to):
                guard !isDead[to], links[to].contains(from) else { continue }
                step(.received(message, from: Self.node(from)), at: to)
            }
        }
        now = end
    }

    private mutating func step(_ event: Overlay.Event, at index: Int) {
        let effects = machines[index].step(event, now: now)
        let wake = max(machines[index].wake, now)
        if timers[index].map({ $0 > wake }) ?? true {
            timers[index] = wake
            queue.add(.wake(index), at: wake)
        }
        for effect in effects {
            switch effect {
            case .send(let message, let node):
                if case .gossip = message { payloads += 1 } else { controls += 1 }
                let delay = chance.between(.microseconds(200), .milliseconds(2))
                queue.add(.deliver(message, from: index, to: Self.index(node)), at: now + delay)
            case .deliver(let payload, _, let hops):
                let id = OverlayMessage.id(of: payload)
                var reach = reached[id] ?? Reach()
                reach.count += 1
                reach.lastHops = max(reach.lastHops, hops)
                reach.sumOfHops += hops
                reach.last = now
                reached[id] = reach
            case .neighbours(let nodes):
                for peer in (nodes?.chosen ?? []).map({ Self.index($0) }) { link(index, peer) }
            case .release(let node):
                let peer = Self.index(node)
                links[index].remove(peer)
                links[peer].remove(index)
                step(.unlinked(node), at: index)
                step(.unlinked(Self.node(index)), at: peer)
                step(.full(Self.node(index)), at: peer)
            }
        }
    }

    /// As ``Mesh`` decides who gets in.
    private mutating func link(_ index: Int, _ peer: Int) {
        guard !isDead[peer], !links[index].contains(peer) else { return }
        let machine = machines[peer]
        let isRing = machine.neighbours?.ring.contains(Self.node(index)) == true
        guard links[peer].count < machine.limit || isRing else { return step(.full(Self.node(peer)), at: index) }
        links[index].insert(peer)
        links[peer].insert(index)
        step(.linked(Self.node(peer)), at: index)
        step(.linked(Self.node(index)), at: peer)
    }
}

extension OverlayWorld {
    /// What a swarm of that size needs for a broadcast once the tree stands, as lines to print.
    package static func figures(hosts: Int, seed: UInt64) -> [String] {
        var world = OverlayWorld(hosts: hosts, seed: seed)
        var reaches: [Reach] = []
        for round in 0..<16 { reaches.append(world.broadcast(from: round * 77 % hosts)) }
        let settled = reaches.suffix(8)
        let degrees = world.degrees
        let missed = settled.count { $0.count < hosts }
        let mean = settled.reduce(0) { $0 + $1.meanHops } / Double(settled.count)
        return [
            "broadcast \(hosts) hosts: reached \(missed == 0 ? "all" : "not all, \(missed) times"), "
                + "hops_mean \(rounded(mean)) hops_last \(settled.map(\.lastHops).max() ?? 0) "
                + "last_ms \(rounded((settled.map(\.last).max() ?? .zero) / .milliseconds(1))) "
                + "payloads_per_host \(rounded(settled.map(\.payloads).max() ?? 0)) "
                + "links \(degrees.min() ?? 0)-\(degrees.max() ?? 0)"
        ]
    }

    private static func rounded(_ number: Double) -> Double { (number * 100).rounded() / 100 }
}
