import Core
import Swarm

/// Hosts that answer, in virtual time: the shipped router with its breakers, the queues, the links for work, the
/// journeys of answers and those who stand by; hosts die, freeze, are cut off, are drained, and engines break.
///
/// Clients ask one host and hold on to it while it lives; when it dies they come to any other one for the rest.
package struct ServingWorld {
    static let model = "m"
    /// When the last client asks and the last fault begins.
    private static let busy = Duration.seconds(60)
    private static let patience = Duration.seconds(900)

    enum Event {
        case ask(Int)
        case leave(Int)
        /// Somebody who came for a lost host's answer asks again.
        case despair(Int)
        case message(link: Int, toServer: Bool, [UInt8])
        case closed(link: Int, atServer: Bool)
        case tick(host: Int, life: Int, count: Int)
        case token(host: Int, life: Int, job: UInt64)
        case told(host: Int, by: NodeID, HostLoad, telling: UInt64)
        case noticed(host: Int, Int)
        case kept(host: Int, ask: Int, String)
        case fault(Fault)
        case thaw(Int)
    }

    enum Fault {
        case kill(Int)
        case start(Int)
        case freeze(Int, Duration)
        case cut(Int, Int)
        case heal(Int, Int)
        case drain(Int, Bool)
        case breakEngine(Int, Bool)
    }

    /// How a client's request ended.
    package enum End: String, Hashable, Sendable, CaseIterable {
        case answered, refused, expired, failed, left
        /// Its host died, and nobody stood by.
        case lost
    }

    struct Ask {
        var host: Int
        var caller: UInt64
        var priority: Ticket.Priority
        var patience: Duration?
        var tokens: Int
        /// The whole answer.
        var truth: String
        var received = ""
        var end: End?
        /// The host that it asked is gone; it comes to any other.
        var isAway = false
        /// Who stood by when its host went, and since when.
        var guardians: [(host: Int, life: Int)] = []
        var awaySince = Duration.zero
    }

    let bug: ServingBug?
    var queue = EventQueue<Event>()
    package private(set) var now = Duration.zero
    var hosts: [ServingHost]
    var asks: [Ask] = []
    var links: [ServingLink] = []
    var lastAnswer = 0
    var cuts: Set<Network.Pair> = []
    var report: ServingReport
    var chance: Chance
    var wire: Chance
    var longestService = Duration.zero
    /// The most lanes that one host has had.
    var mostLanes = 1

    /// Runs one seed.
    package static func run(seed: UInt64, bug: ServingBug? = nil) -> ServingReport {
        var world = ServingWorld(seed: seed, bug: bug)
        while !world.isOver, world.now < patience, let (time, event) = world.queue.removeFirst() {
            world.now = max(world.now, time)
            world.report.events += 1
            world.take(event)
        }
        world.finish()
        return world.report
    }

    private init(seed: UInt64, bug: ServingBug?) {
        self.bug = bug
        var draw = Chance(seed: seed, stream: 11)
        wire = Chance(seed: seed, stream: 12)
        let isPartial = draw.hits(1, of: 2)
        hosts = (0..<2 + draw.below(5)).map { index in
            ServingHost(
                node: NodeID(Bytes16(high: draw.seed(), low: UInt64(index))), slots: 1 + draw.below(4),
                pace: .milliseconds(3 + draw.below(30)), takesPartial: isPartial, length: 4 + draw.below(60),
                seed: draw.seed())
        }
        report = ServingReport(seed: seed, hosts: hosts.count)
        for number in 0..<100 + draw.below(300) {
            let at = draw.between(.zero, Self.busy)
            let tokens = 1 + draw.below(150)
            asks.append(
                Ask(
                    host: draw.below(3) == 0 ? 0 : draw.below(hosts.count), caller: UInt64(draw.below(6)),
                    priority: draw.pick(Ticket.Priority.allCases) ?? .normal,
                    patience: draw.hits(1, of: 4) ? draw.between(.zero, .seconds(20)) : nil,
                    tokens: tokens, truth: (0..<tokens).map { Self.token(number, $0) }.joined()))
            queue.add(.ask(number), at: at)
            if draw.hits(1, of: 12) { queue.add(.leave(number), at: at + draw.between(.zero, .seconds(5))) }
        }
        for (time, fault) in Self.plan(hosts.count, &draw) { queue.add(.fault(fault), at: time) }
        chance = draw
        for host in hosts.indices { begin(host) }
    }

    private static func plan(_ hosts: Int, _ draw: inout Chance) -> [(Duration, Fault)] {
        var plan: [(Duration, Fault)] = []
        func add(_ begin: Fault, _ end: Fault, _ draw: inout Chance, longest: Duration) {
            let time = draw.between(.zero, busy)
            plan.append((time, begin))
            plan.append((time + draw.between(.milliseconds(50), longest), end))
        }
        if draw.hits(2, of: 3) {
            for _ in 0...draw.below(6) {
                let host = draw.below(hosts)
                add(.kill(host), .start(host), &draw, longest: .seconds(10))
            }
        }
        if draw.hits(1, of: 3) {
            for _ in 0...draw.below(3) {
                plan.append(
                    (
                        draw.between(.zero, busy),
                        .freeze(draw.below(hosts), draw.between(.milliseconds(100), .seconds(8)))
                    ))
            }
        }
        if draw.hits(1, of: 3) {
            for _ in 0...draw.below(3) {
                let (one, other) = (draw.below(hosts), draw.below(hosts))
                guard one != other else { continue }
                add(.cut(one, other), .heal(one, other), &draw, longest: .seconds(12))
            }
        }
        if draw.hits(1, of: 3) {
            let host = draw.below(hosts)
            add(.drain(host, true), .drain(host, false), &draw, longest: .seconds(20))
        }
        if draw.hits(1, of: 3) {
            let host = draw.below(hosts)
            add(.breakEngine(host, true), .breakEngine(host, false), &draw, longest: .seconds(20))
        }
        return plan
    }

    private var isOver: Bool { now > Self.busy && asks.allSatisfy { $0.end != nil } }

    // MARK: - Events

    private mutating func take(_ event: Event) {
        switch event {
        case .ask(let number): ask(number)
        case .leave(let number): leave(number)
        case .despair(let number):
            if asks[number].end == nil { end(number, .lost) }
        case .message(let link, let toServer, let bytes):
            deliver(event, to: side(link, toServer)) { world in
                world.received(bytes, over: link, atServer: toServer)
            }
        case .closed(let link, let atServer):
            deliver(event, to: side(link, atServer)) { world in
                world.lost(link, atServer: atServer)
            }
        case .tick(let host, let life, let count): deliver(event, to: (host, life)) { $0.tick(host, count) }
        case .token(let host, let life, let job): deliver(event, to: (host, life)) { $0.write(job, at: host) }
        case .told(let host, let node, let load, let telling):
            deliver(event, to: (host, hosts[host].life)) { world in
                world.hosts[host].loads[node] = (load, telling)
                world.hosts[host].router.loadTold(by: node)
            }
        case .noticed(let host, let other):
            deliver(event, to: (host, hosts[host].life)) { $0.notice(other, at: host) }
        case .kept(let host, let ask, let text): keep(ask, text, at: host)
        case .fault(let fault): happen(fault)
        case .thaw(let host): thaw(host)
        }
    }

    private func side(_ link: Int, _ isServer: Bool) -> (host: Int, life: Int) {
        let link = links[link]
        return isServer ? (link.server, link.serverLife) : (link.asker, link.askerLife)
    }

    /// A frozen host takes it when it goes on, a dead one never.
    private mutating func deliver(_ event: Event, to place: (host: Int, life: Int), _ act: (inout Self) -> Void) {
        guard hosts[place.host].isUp, hosts[place.host].life == place.life else { return }
        guard hosts[place.host].thaws == nil else { return hosts[place.host].deferred.append(event) }
        act(&self)
    }

    func index(of node: NodeID) -> Int { hosts.firstIndex { $0.node == node } ?? 0 }

    // MARK: - Faults

    private mutating func happen(_ fault: Fault) {
        switch fault {
        case .kill(let host): kill(host)
        case .start(let host):
            guard !hosts[host].isUp else { return }
            hosts[host].isUp = true
            begin(host)
            spread(about: host, after: .milliseconds(100), .milliseconds(500))
        case .freeze(let host, let duration):
            guard hosts[host].isUp, hosts[host].thaws == nil else { return }
            hosts[host].thaws = now + duration
            hosts[host].disturbed = now + duration
            queue.add(.thaw(host), at: now + duration)
            spread(about: host, after: .seconds(2), .seconds(4))
        case .cut(let one, let other):
            cuts.insert(Network.Pair(from: min(one, other), to: max(one, other)))
            hosts[one].disturbed = now
            hosts[other].disturbed = now
            spread(about: one, after: .seconds(2), .seconds(4))
            spread(about: other, after: .seconds(2), .seconds(4))
        case .heal(let one, let other):
            cuts.remove(Network.Pair(from: min(one, other), to: max(one, other)))
            hosts[one].disturbed = now
            hosts[other].disturbed = now
            releaseHeldBack()
            spread(about: one, after: .milliseconds(100), .seconds(2))
            spread(about: other, after: .milliseconds(100), .seconds(2))
        case .drain(let host, let isOn): hosts[host].isDraining = isOn
        case .breakEngine(let host, let isBroken): hosts[host].isBroken = isBroken
        }
    }

    func isCut(_ one: Int, _ other: Int) -> Bool {
        cuts.contains(Network.Pair(from: min(one, other), to: max(one, other)))
    }

    private mutating func spread(about host: Int, after low: Duration, _ high: Duration) {
        for other in hosts.indices where other != host {
            queue.add(.noticed(host: other, host), at: now + wire.between(low, high))
            queue.add(.noticed(host: host, other), at: now + wire.between(low, high))
        }
    }

    /// Membership says how the other one is.
    private mutating func notice(_ other: Int, at host: Int) {
        let isThere = hosts[other].isUp && hosts[other].thaws == nil && !isCut(host, other)
        if isThere {
            hosts[host].gone.remove(hosts[other].node)
        } else {
            hosts[host].gone.insert(hosts[other].node)
            hosts[host].loads[hosts[other].node] = nil
        }
    }

    private mutating func begin(_ host: Int) {
        hosts[host].disturbed = now
        let slots = bug == .unusedSlots ? 1 : hosts[host].slots
        perform(hosts[host].queue.learned(slots: slots, at: now), at: host)
        queue.add(.tick(host: host, life: hosts[host].life, count: 0), at: now + wire.between(.zero, .milliseconds(50)))
    }

    private mutating func kill(_ host: Int) {
        guard hosts[host].isUp else { return }
        for answer in hosts[host].answers.values where isAttached(answer.ask, to: host) {
            asks[answer.ask].isAway = true
            asks[answer.ask].awaySince = now
            let dot = Self.question(answer.ask)
            asks[answer.ask].guardians = hosts.indices.filter {
                hosts[$0].isUp && hosts[$0].held[dot] != nil
            }.map { ($0, hosts[$0].life) }
            queue.add(.despair(answer.ask), at: now + .seconds(120))
        }
        for link in links.indices {
            for (side, (own, life)) in [
                (links[link].asker, links[link].askerLife), (links[link].server, links[link].serverLife),
            ]
            .enumerated()
            where own == host && life == hosts[host].life && links[link].isOpen[side] {
                links[link].isOpen[side] = false
                close(link, atServer: side == 0)
            }
        }
        let old = hosts[host]
        hosts[host] = ServingHost(
            node: old.node, slots: old.slots, pace: old.pace, takesPartial: old.takesPartial, length: old.queue.length,
            seed: chance.seed())
        hosts[host].life = old.life + 1
        hosts[host].isUp = false
        hosts[host].isDraining = old.isDraining
        hosts[host].isBroken = old.isBroken
        hosts[host].kept = old.kept
        hosts[host].tellings = old.tellings
        hosts[host].disturbed = now
        spread(about: host, after: .milliseconds(300), .milliseconds(1_200))
    }

    private mutating func thaw(_ host: Int) {
        guard let due = hosts[host].thaws, due <= now else { return }
        hosts[host].thaws = nil
        hosts[host].lanes = hosts[host].lanes.mapValues { _ in now }
        let deferred = hosts[host].deferred
        hosts[host].deferred = []
        for event in deferred { take(event) }
        spread(about: host, after: .milliseconds(100), .milliseconds(500))
    }

    // MARK: - The clock of a host

    private mutating func tick(_ host: Int, _ count: Int) {
        perform(hosts[host].queue.ticked(at: now), at: host)
        standBy(at: host)
        if count % 5 == 0 { tickLinks(of: host) }
        if count % 2 == 0 {
            tellLoad(of: host)
            balance(host)
        }
        for id in hosts[host].answers.keys.sorted() { tellStandbys(of: id, at: host) }
        queue.add(.tick(host: host, life: hosts[host].life, count: count + 1), at: now + Limits.standbyInterval)
    }

    private mutating func tellLoad(of host: Int) {
        let load = hosts[host].load
        guard load != hosts[host].lastTold else { return }
        hosts[host].lastTold = load
        hosts[host].tellings += 1
        for other in hosts.indices where other != host && !isCut(host, other) {
            queue.add(
                .told(host: other, by: hosts[host].node, load, telling: hosts[host].tellings),
                at: now + wire.tailed(.milliseconds(1)))
        }
    }

    // MARK: - Clients

    static func question(_ ask: Int) -> Dot {
        Dot(origin: Origin(node: NodeID(Bytes16(high: 0, low: 1)), epoch: 1), sequence: UInt64(ask + 1))
    }

    static func token(_ ask: Int, _ index: Int) -> String { "\(ask).\(index) " }

    func isAttached(_ ask: Int, to host: Int) -> Bool {
        asks[ask].end == nil && !asks[ask].isAway && asks[ask].host == host
    }

    /// The client reads more of its answer.
    mutating func give(_ text: String, of ask: Int, at host: Int) {
        guard isAttached(ask, to: host) else { return }
        asks[ask].received += text
        if !asks[ask].truth.utf8.starts(with: asks[ask].received.utf8) {
            report.violated("S2", "client \(ask) was given what is not its answer", at: now)
        }
    }

    mutating func end(_ ask: Int, _ end: End) {
        if asks[ask].end != nil { return report.violated("S1", "request \(ask) ended twice", at: now) }
        asks[ask].end = end
        report.ends[end, default: 0] += 1
        switch end {
        case .answered:
            if asks[ask].received != asks[ask].truth {
                report.violated("S2", "client \(ask) was told that its answer is whole, and it is not", at: now)
            }
        case .lost:
            // Somebody stood by who lived, and was left alone.
            let isGuarded = asks[ask].guardians.contains { guardian in
                hosts[guardian.host].isUp && hosts[guardian.host].life == guardian.life
                    && hosts[guardian.host].disturbed + .seconds(1) < asks[ask].awaySince
            }
            if isGuarded { report.violated("S3", "the answer \(ask) is lost, and somebody stood by for it", at: now) }
        default: break
        }
    }

    private mutating func finish() {
        for number in asks.indices where asks[number].end == nil {
            report.violated("S1", "request \(number) never ended", at: now)
        }
        report.asks = asks.count
    }
}
