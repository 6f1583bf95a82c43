import Core
import Swarm

/// A thousand hosts with ``Overlay``: links are there as soon as one side wants them, messages take up to 2 ms, hosts
/// die at once and in numbers.
struct OverlayWorld {
    struct Reach: Hashable {
        var count = 0
        var lastHops = 0
        var sumOfHops = 0
        var last: Duration = .zero
    }

    private enum Occurrence {
        case wake(Int)
        case deliver(OverlayMessage, from: Int, to: Int)
    }

    private(set) var now: Duration = .zero
    private(set) var machines: [Overlay] = []
    private(set) var isDead: [Bool]
    private(set) var reached: [Bytes16: Reach] = [:]
    private(set) var payloads = 0
    private(set) var controls = 0
    private var links: [Set<Int>]
    private var timers: [Duration?]
    private var queue = EventQueue<Occurrence>()
    private var random: Seeded
    private var lastID: UInt64 = 0

    init(hosts count: Int, seed: UInt64) {
        random = Seeded(seed)
        isDead = Array(repeating: false, count: count)
        links = Array(repeating: [], count: count)
        timers = Array(repeating: nil, count: count)
        for index in 0..<count { machines.append(Overlay(node: Self.node(index), seed: random.next())) }
        let everyone = (0..<count).map { Self.node($0) }
        for index in 0..<count { step(.joined(everyone), at: index) }
    }

    static func node(_ index: Int) -> NodeID { NodeID(Bytes16(high: UInt64(index) &* 0x9E37_79B9, low: UInt64(index))) }
    private static func index(_ node: NodeID) -> Int { Int(node.bytes.low) }

    var living: Int { isDead.count { !$0 } }
    var degrees: [Int] { links.indices.filter { !isDead[$0] }.map { links[$0].count } }

    /// - Returns: the id of the broadcast.
    mutating func publish(at index: Int) -> Bytes16 {
        lastID += 1
        let id = Bytes16(high: 1, low: lastID)
        reached[id] = Reach(count: 1)
        step(.published(id: id, payload: [1, 2, 3]), at: index)
        return id
    }

    /// They fall silent now; the others' links close then, and their membership follows later.
    mutating func kill(_ victims: [Int]) {
        for victim in victims { isDead[victim] = true }
        for victim in victims {
            for peer in links[victim].sorted() where !isDead[peer] {
                links[peer].remove(victim)
                step(.unlinked(Self.node(victim)), at: peer)
            }
            links[victim] = []
        }
    }

    mutating func bury(_ victims: [Int]) {
        for victim in victims {
            for index in machines.indices where !isDead[index] { step(.gone(Self.node(victim)), at: index) }
        }
    }

    mutating func run(for duration: Duration) {
        let end = now + duration
        while let next = queue.nextTime, next <= end, let (time, event) = queue.next() {
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
        let wake = machines[index].wake
        if timers[index].map({ $0 > wake }) ?? true {
            timers[index] = wake
            queue.put(.wake(index), at: wake)
        }
        for effect in effects {
            switch effect {
            case .send(let message, let node):
                if case .gossip = message { payloads += 1 } else { controls += 1 }
                let delay = Duration.microseconds(200 + random.below(1800))
                queue.put(.deliver(message, from: index, to: Self.index(node)), at: now + delay)
            case .deliver(let id, _, _, let hops):
                var reach = reached[id] ?? Reach()
                reach.count += 1
                reach.lastHops = max(reach.lastHops, hops)
                reach.sumOfHops += hops
                reach.last = now
                reached[id] = reach
            case .neighbours(let nodes):
                for peer in (nodes ?? []).map({ Self.index($0) }) where !isDead[peer] && !links[index].contains(peer) {
                    links[index].insert(peer)
                    links[peer].insert(index)
                    step(.linked(Self.node(peer)), at: index)
                    step(.linked(Self.node(index)), at: peer)
                }
            }
        }
    }
}
