import Core
import Swarm

/// Hosts with ``Membership`` on a simulated network: links in a full mesh that deliver in order after a random delay,
/// a keepalive on each, hosts that are killed, frozen, starved of processor time, cut off. All of it from one seed.
struct MembershipWorld {
    struct Change: Hashable {
        var time: Duration
        /// The host that holds it, and the one of which it holds it.
        var observer: Int
        var subject: Int
        var state: Member.State
    }

    private enum Occurrence {
        case wake(Int)
        case deliver(MembershipMessage, from: Int, to: Int, link: Int)
        case keepalive(from: Int, to: Int, link: Int)
        case closed(at: Int, of: Int, link: Int)
        case refused(at: Int, of: Int)
        case redial(Int)
        case stutter(Int)
    }

    private struct Host {
        var machine: Membership
        var isDead = false
        /// When it is woken next.
        var timer: Duration?
        /// Until then nothing runs on it; what comes waits.
        var pausedUntil: Duration = .zero
        var side = 0
        /// The longest time that it stands still, where other work starves it.
        var pause: Duration = .zero
        var states: [Int: Member.State] = [:]
        /// Each end's own view of whether there is a link.
        var links: [Int: Int] = [:]
    }

    private(set) var now: Duration = .zero
    private var random: Seeded
    private var queue = EventQueue<Occurrence>()
    private var hosts: [Host] = []
    private var lastLink = 0
    /// The latest arrival on the way from one to another: links keep the order.
    private var arrivals: [Pair: Duration] = [:]
    private(set) var changes: [Change] = []
    private(set) var messages = 0
    private(set) var bytes = 0
    private(set) var clones: [NodeID] = []
    /// One way, in seconds.
    var latency: ClosedRange<Double> = 0.0002...0.002
    private let tuning: Membership.Tuning
    private var blocked: Set<Pair> = []

    private struct Pair: Hashable {
        var from: Int
        var to: Int
    }

    init(hosts count: Int, seed: UInt64, tuning: Membership.Tuning = Membership.Tuning()) {
        self.tuning = tuning
        random = Seeded(seed)
        for index in 0..<count {
            let start = Duration.milliseconds(random.below(2000))
            hosts.append(Host(machine: machine(index, started: 1), pausedUntil: .zero))
            setTimer(index, start)
            queue.put(.redial(index), at: start + .milliseconds(random.below(10_000)))
        }
        for left in 0..<count {
            for right in 0..<left { link(left, right) }
        }
    }

    static func node(_ index: Int) -> NodeID {
        NodeID(Bytes16(high: UInt64(index) &* 0x9E37_79B9_7F4A_7C15, low: UInt64(index)))
    }

    private static func index(_ node: NodeID) -> Int { Int(node.bytes.low) }

    private mutating func machine(_ index: Int, started: UInt64) -> Membership {
        Membership(
            node: Self.node(index), instance: InstanceID(Bytes16(high: started, low: UInt64(index))),
            facts: MemberFacts(name: "host\(index)", version: "1"), seals: .hashing(Self.node(index)),
            wallClock: started, seed: random.next(), tuning: tuning)
    }

    // MARK: - What happens to hosts

    mutating func kill(_ index: Int) {
        hosts[index].isDead = true
        for peer in hosts.indices where peer != index && reachable(index, peer) {
            if let link = hosts[peer].links[index] {
                queue.put(.closed(at: peer, of: index, link: link), at: now + delay())
            }
        }
        hosts[index].links = [:]
    }

    mutating func restart(_ index: Int) {
        hosts[index] = Host(machine: machine(index, started: 1 + UInt64(now / .milliseconds(1))))
        setTimer(index, now)
        queue.put(.redial(index), at: now + .seconds(1))
        for peer in hosts.indices where peer != index && !hosts[peer].isDead && reachable(index, peer) {
            link(index, peer)
        }
    }

    mutating func freeze(_ index: Int, for duration: Duration) {
        hosts[index].pausedUntil = max(hosts[index].pausedUntil, now + duration)
    }

    /// The processor is busy with other work, or the host swaps: from now on it runs half of the time, and stands
    /// still for up to `pause` at once.
    mutating func starve(_ index: Int, pause: Duration) {
        hosts[index].pause = pause
        queue.put(.stutter(index), at: now)
    }

    mutating func leave(_ index: Int) {
        step(.leaving, at: index)
        hosts[index].isDead = true
        for peer in hosts.indices where peer != index {
            if let link = hosts[peer].links[index] {
                queue.put(.closed(at: peer, of: index, link: link), at: now + .milliseconds(5))
            }
        }
    }

    /// Hosts below `boundary` and those from it on no longer reach one another.
    mutating func partition(at boundary: Int) {
        for index in hosts.indices { hosts[index].side = index < boundary ? 0 : 1 }
    }

    /// These two no longer reach one another; everyone else reaches both. Their link breaks.
    mutating func block(_ left: Int, _ right: Int) {
        blocked.insert(Pair(from: min(left, right), to: max(left, right)))
        for (observer, subject) in [(left, right), (right, left)] {
            if let link = hosts[observer].links[subject] {
                queue.put(.closed(at: observer, of: subject, link: link), at: now + delay())
            }
        }
    }

    mutating func heal() { for index in hosts.indices { hosts[index].side = 0 } }

    mutating func say(_ event: Membership.Event, at index: Int) { step(event, at: index) }

    func state(of subject: Int, at observer: Int) -> Member.State? {
        hosts[observer].machine.member(Self.node(subject))?.state
    }

    func machine(_ index: Int) -> Membership { hosts[index].machine }

    /// Every host that runs holds every other that runs for alive.
    var isWhole: Bool {
        let running = hosts.indices.filter { !hosts[$0].isDead }
        return running.allSatisfy { observer in
            running.allSatisfy { $0 == observer || state(of: $0, at: observer) == .alive }
        }
    }

    // MARK: - Time

    mutating func run(until end: Duration) {
        while let next = queue.nextTime, next <= end, let (time, event) = queue.next() {
            now = time
            perform(event)
        }
        now = end
    }

    mutating func run(for duration: Duration) { run(until: now + duration) }

    private mutating func perform(_ event: Occurrence) {
        switch event {
        case .wake(let index):
            guard hosts[index].timer == now, !hosts[index].isDead else { return }
            hosts[index].timer = nil
            if isPaused(index) { return setTimer(index, hosts[index].pausedUntil) }
            step(.ticked, at: index)
        case .deliver(let message, let from, let to, let link):
            guard isRunning(to, else: event), hosts[to].links[from] == link else { return }
            if !reachable(from, to) { return queue.put(event, at: now + .milliseconds(200)) }
            step(.received(message, from: Self.node(from)), at: to)
        case .keepalive(let from, let to, let link):
            guard !hosts[from].isDead, hosts[from].links[to] == link else { return }
            if isPaused(from) { return queue.put(event, at: hosts[from].pausedUntil) }
            if reachable(from, to), hosts[to].links[from] == link, !hosts[to].isDead {
                if isPaused(to) { return queue.put(event, at: hosts[to].pausedUntil) }
                step(.heard(Self.node(from)), at: to)
            }
            queue.put(event, at: now + .milliseconds(800 + random.below(400)))
        case .closed(let observer, let subject, let link):
            guard isRunning(observer, else: event), hosts[observer].links[subject] == link else { return }
            hosts[observer].links[subject] = nil
            step(.unlinked(Self.node(subject)), at: observer)
            if hosts[subject].isDead, reachable(observer, subject) {
                queue.put(.refused(at: observer, of: subject), at: now + .milliseconds(1 + random.below(20)))
            }
        case .refused(let observer, let subject):
            guard isRunning(observer, else: event), hosts[subject].isDead else { return }
            step(.refused(Self.node(subject)), at: observer)
        case .redial(let index):
            guard !hosts[index].isDead else { return }
            queue.put(event, at: now + .milliseconds(8_000 + random.below(4_000)))
            guard !isPaused(index) else { return }
            let lost = hosts.indices.filter { $0 != index && hosts[index].links[$0] == nil }
            if let peer = random.pick(lost), !hosts[peer].isDead, !isPaused(peer), reachable(index, peer) {
                link(index, peer)
            }
        case .stutter(let index):
            guard !hosts[index].isDead else { return }
            let pause = hosts[index].pause * Double.random(in: 0...1, using: &random)
            freeze(index, for: pause)
            queue.put(event, at: now + pause * 2 + .milliseconds(1))
        }
    }

    private func isPaused(_ index: Int) -> Bool { hosts[index].pausedUntil > now }

    /// What comes to a host that is paused happens when it goes on.
    private mutating func isRunning(_ index: Int, else event: Occurrence) -> Bool {
        guard !hosts[index].isDead else { return false }
        guard isPaused(index) else { return true }
        queue.put(event, at: hosts[index].pausedUntil)
        return false
    }

    private func reachable(_ left: Int, _ right: Int) -> Bool {
        hosts[left].side == hosts[right].side && !blocked.contains(Pair(from: min(left, right), to: max(left, right)))
    }
    private mutating func delay() -> Duration { .seconds(Double.random(in: latency, using: &random)) }

    private mutating func link(_ left: Int, _ right: Int) {
        lastLink += 1
        for (observer, subject) in [(left, right), (right, left)] {
            let wasLinked = hosts[observer].links[subject] != nil
            hosts[observer].links[subject] = lastLink
            if wasLinked { step(.unlinked(Self.node(subject)), at: observer) }
            queue.put(
                .keepalive(from: observer, to: subject, link: lastLink), at: now + .milliseconds(random.below(1000)))
        }
        step(.linked(Self.node(right)), at: left)
        step(.linked(Self.node(left)), at: right)
    }

    // MARK: - Machines

    private mutating func setTimer(_ index: Int, _ time: Duration) {
        if let timer = hosts[index].timer, timer <= time { return }
        hosts[index].timer = time
        queue.put(.wake(index), at: time)
    }

    private mutating func step(_ event: Membership.Event, at index: Int) {
        let effects = hosts[index].machine.step(event, now: now)
        setTimer(index, max(hosts[index].machine.wake, now))
        for effect in effects {
            switch effect {
            case .send(let message, let node):
                let peer = Self.index(node)
                guard let link = hosts[index].links[peer] else { continue }
                messages += 1
                bytes += message.encoded.count
                let pair = Pair(from: index, to: peer)
                let arrival = max(now + delay(), arrivals[pair] ?? .zero)
                arrivals[pair] = arrival
                queue.put(.deliver(message, from: index, to: peer, link: link), at: arrival)
            case .changed(let member):
                let subject = Self.index(member.node)
                guard hosts[index].states[subject] != member.state else { continue }
                hosts[index].states[subject] = member.state
                changes.append(Change(time: now, observer: index, subject: subject, state: member.state))
                // As Mesh does: no link with the dead.
                if member.state == .dead, let link = hosts[index].links.removeValue(forKey: subject) {
                    _ = hosts[index].machine.step(.unlinked(member.node), now: now)
                    if reachable(index, subject), !hosts[subject].isDead {
                        queue.put(.closed(at: subject, of: index, link: link), at: now + delay())
                    }
                }
                // And a dial to who came back.
                if member.state == .alive, hosts[index].links[subject] == nil, !hosts[subject].isDead,
                    !isPaused(subject), reachable(index, subject), subject != index
                {
                    link(index, subject)
                }
            case .forgot(let node): hosts[index].states[Self.index(node)] = nil
            case .cloned(let node, _): clones.append(node)
            }
        }
    }
}

extension SealScheme {
    /// As good as a signature where nobody attacks, and a thousand times faster.
    static func hashing(_ node: NodeID) -> SealScheme {
        let key = node.bytes.bytes + Array(repeating: 7, count: 16)
        return SealScheme(
            author: key, sign: { Self.mark($0, key) }, verify: { $0 == Self.mark($1, $2) },
            node: { $0.count == 32 ? Bytes16($0).map(NodeID.init) : nil })
    }

    private static func mark(_ message: [UInt8], _ key: [UInt8]) -> [UInt8] {
        var sum: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in message + key { sum = (sum ^ UInt64(byte)) &* 0x100_0000_01B3 }
        return (0..<64).map { UInt8(truncatingIfNeeded: sum >> UInt64($0 % 8 * 8)) }
    }
}
