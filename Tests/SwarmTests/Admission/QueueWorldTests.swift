import Core
import Swarm
import Testing

/// Hosts that queue, offer, steal, die and come back, in virtual time. Askers do what `TravellingAnswer` does: a request
/// that leaves a queue goes where it is told, one that finds no room is offered elsewhere, one whose host dies begins
/// again.
private struct QueueWorld {
    enum Event {
        case arrives(Int)
        case reaches(Int, host: Int, life: Int)
        case ends(Int, host: Int, life: Int)
        case left(Int, host: Int, life: Int)
        case tick
        case dies(Int)
        case returns(Int)
    }

    enum End: Hashable { case answered, refused, expired, lost }

    struct Asked {
        var caller: UInt64
        var priority: Ticket.Priority
        var tokens: Int
        var deadline: Duration?
        var at: Duration
        var moves = 0
        var offers = 0
        var avoided: Set<Int> = []
        var begun: Duration?
        /// Where it is at present.
        var host: Int?
    }

    struct Host {
        var queue: ModelQueue
        var slots: Int
        var life = 0
        var isUp = true
        var told: (waiting: Int, running: Int, telling: UInt64) = (0, 0, 0)
    }

    private var random: Seeded
    private var events = EventQueue<Event>()
    private(set) var now = Duration.zero
    private(set) var hosts: [Host]
    private(set) var asked: [Asked] = []
    private(set) var ends: [Int: [End]] = [:]
    private(set) var movesSeen = 0
    private(set) var mostRunning = 0
    private(set) var stuck: [String] = []
    private let kills: Bool

    init(seed: UInt64, kills: Bool) {
        var random = Seeded(seed)
        hosts = (0..<(2 + random.below(4))).map { _ in
            Host(queue: ModelQueue(length: 4 + random.below(60)), slots: 1 + random.below(4))
        }
        self.random = random
        self.kills = kills
        for index in hosts.indices { _ = hosts[index].queue.learned(slots: hosts[index].slots, at: .zero) }
        let count = 200 + self.random.below(300)
        for number in 0..<count {
            let at = Duration.milliseconds(self.random.below(60_000))
            asked.append(
                Asked(
                    caller: UInt64(self.random.below(6)),
                    priority: self.random.pick(Ticket.Priority.allCases) ?? .normal,
                    tokens: 1 + self.random.below(200),
                    deadline: self.random.below(4) == 0 ? at + .milliseconds(self.random.below(20_000)) : nil, at: at))
            schedule(.arrives(number), at)
        }
        schedule(.tick, .milliseconds(100))
        guard kills else { return }
        for _ in 0..<4 {
            // The first host is the askers'.
            let host = 1 + self.random.below(hosts.count - 1)
            let at = Duration.milliseconds(self.random.below(60_000))
            schedule(.dies(host), at)
            schedule(.returns(host), at + .seconds(1 + self.random.below(10)))
        }
    }

    private mutating func schedule(_ event: Event, _ at: Duration) { events.put(event, at: at) }

    private var isOver: Bool { ends.count == asked.count }

    mutating func run() {
        while !isOver, now < .seconds(3_600), let (at, event) = events.next() {
            now = max(now, at)
            take(event)
        }
    }

    private mutating func take(_ event: Event) {
        switch event {
        case .arrives(let number): send(number, to: random.below(3) == 0 ? random.below(hosts.count) : 0)
        case .reaches(let number, let index, let life):
            guard hosts[index].isUp, hosts[index].life == life else { return again(number, without: index) }
            let one = asked[number]
            asked[number].host = index
            perform(
                hosts[index].queue.entered(
                    ModelQueue.Request(
                        id: UInt64(number), caller: one.caller, priority: one.priority, cost: one.tokens * 4,
                        deadline: one.deadline, mayMove: one.moves < Limits.queueMoves), at: now), on: index)
        case .ends(let number, let index, let life):
            guard hosts[index].isUp, hosts[index].life == life else { return }
            end(number, .answered)
            perform(hosts[index].queue.left(UInt64(number), used: asked[number].tokens, at: now), on: index)
        case .left(let number, let index, let life):
            // Its host has died, and with it what ran and waited there.
            guard asked[number].host == index, hosts[index].life != life || !hosts[index].isUp else { return }
            again(number, without: index)
        case .tick:
            for index in hosts.indices where hosts[index].isUp {
                perform(hosts[index].queue.ticked(at: now), on: index)
                // Loads are told now and then, so that what is believed of others is old.
                if random.below(3) == 0 {
                    hosts[index].told = (
                        hosts[index].queue.waitingCount, hosts[index].queue.runningCount, hosts[index].told.telling + 1
                    )
                }
            }
            for index in hosts.indices where hosts[index].isUp { balance(index) }
            if !isOver { schedule(.tick, now + .milliseconds(100)) }
        case .dies(let index):
            guard hosts[index].isUp else { return }
            hosts[index].isUp = false
            for number in asked.indices where asked[number].host == index && ends[number] == nil {
                schedule(.left(number, host: index, life: hosts[index].life), now + .milliseconds(20))
            }
        case .returns(let index):
            guard !hosts[index].isUp else { return }
            hosts[index].isUp = true
            hosts[index].life += 1
            hosts[index].queue = ModelQueue(length: hosts[index].queue.length)
            _ = hosts[index].queue.learned(slots: hosts[index].slots, at: now)
            hosts[index].told = (0, 0, hosts[index].told.telling + 1)
        }
    }

    private mutating func balance(_ index: Int) {
        let helpers = hosts.indices.filter { $0 != index && hosts[$0].isUp }.map { other in
            let told = hosts[other].told
            return ModelQueue.Helper(
                node: NodeID(Bytes16(high: 0, low: UInt64(other))),
                free: max(0, hosts[other].slots - told.waiting - told.running), isCold: told.running == 0,
                telling: told.telling)
        }
        perform(hosts[index].queue.compared(with: helpers, isHot: random.below(2) == 0, at: now), on: index)
    }

    private mutating func send(_ number: Int, to index: Int) {
        asked[number].host = nil
        schedule(.reaches(number, host: index, life: hosts[index].life), now + .milliseconds(random.below(10)))
    }

    private mutating func again(_ number: Int, without index: Int) {
        asked[number].begun = nil
        asked[number].avoided.insert(index)
        guard let next = next(number) else { return end(number, .lost) }
        send(number, to: next)
    }

    private func next(_ number: Int) -> Int? {
        hosts.indices.first { hosts[$0].isUp && !asked[number].avoided.contains($0) }
    }

    private mutating func perform(_ actions: [ModelQueue.Action], on index: Int) {
        mostRunning = max(mostRunning, hosts[index].queue.runningCount - hosts[index].slots)
        if hosts[index].queue.waitingCount > hosts[index].queue.length { stuck.append("too many wait") }
        if hosts[index].queue.waitingCount > 0, hosts[index].queue.runningCount < hosts[index].slots {
            stuck.append("a slot is free and somebody waits")
        }
        for action in actions {
            let number = Int(action.id)
            if asked[number].host != index { stuck.append("\(number) is not at \(index)") }
            switch action {
            case .start:
                asked[number].begun = now
                schedule(
                    .ends(number, host: index, life: hosts[index].life),
                    now + .milliseconds(10 * asked[number].tokens))
            case .expire: end(number, .expired)
            case .refuse:
                asked[number].host = nil
                asked[number].avoided.insert(index)
                asked[number].offers += 1
                guard asked[number].offers <= Limits.queueOffers, let next = next(number) else {
                    end(number, .refused)
                    continue
                }
                send(number, to: next)
            case .move(_, let node, _):
                movesSeen += 1
                asked[number].moves += 1
                send(number, to: Int(node.bytes.low))
            }
        }
    }

    private mutating func end(_ number: Int, _ end: End) {
        ends[number, default: []].append(end)
        asked[number].host = nil
    }
}

@Suite("Queues of many hosts") struct QueueWorldTests {
    @Test(
        "Each request ends exactly once, none is lost, and no slot is idle while somebody waits",
        arguments: 1...20 as ClosedRange<UInt64>)
    func once(seed: UInt64) {
        var world = QueueWorld(seed: seed, kills: false)
        world.run()
        #expect(world.ends.count == world.asked.count, "seed \(seed)")
        #expect(world.ends.values.allSatisfy { $0.count == 1 }, "seed \(seed)")
        #expect(!world.ends.values.contains([.lost]), "seed \(seed)")
        #expect(world.mostRunning <= 0, "seed \(seed)")
        #expect(world.stuck.isEmpty, "seed \(seed): \(world.stuck.prefix(3))")
        #expect(world.asked.allSatisfy { $0.moves <= Limits.queueMoves }, "seed \(seed)")
    }

    @Test("So it is when hosts die and come back", arguments: 1...20 as ClosedRange<UInt64>)
    func kills(seed: UInt64) {
        var world = QueueWorld(seed: seed, kills: true)
        world.run()
        #expect(world.ends.count == world.asked.count, "seed \(seed)")
        #expect(world.ends.values.allSatisfy { $0.count == 1 }, "seed \(seed)")
        #expect(world.stuck.isEmpty, "seed \(seed): \(world.stuck.prefix(3))")
    }

    @Test("Something is moved, refused, expired and answered at all")
    func happens() {
        var seen: Set<QueueWorld.End> = []
        var moves = 0
        for seed in 1...20 as ClosedRange<UInt64> {
            var world = QueueWorld(seed: seed, kills: true)
            world.run()
            seen.formUnion(world.ends.values.flatMap(\.self))
            moves += world.movesSeen
        }
        #expect(seen.isSuperset(of: [.answered, .refused, .expired]))
        #expect(moves > 100)
    }

    @Test(
        "Each class waits no longer than its bound, however much of the others comes",
        arguments: 1...20 as ClosedRange<UInt64>)
    func bounded(seed: UInt64) {
        var random = Seeded(seed)
        let callers = 1 + random.below(8)
        var bench = QueueBench()
        var entered: [UInt64: (at: Duration, caller: UInt64, priority: Ticket.Priority)] = [:]
        var longest: [Ticket.Priority: Duration] = [:]
        // Each caller has always one waiting in each class.
        for caller in 0..<UInt64(callers) {
            for priority in Ticket.Priority.allCases {
                entered[bench.enter(caller, priority)] = (bench.now, caller, priority)
            }
        }
        var seen = 0
        for _ in 0..<2_000 {
            bench.serve(after: .milliseconds(1 + random.below(1_000)), used: random.below(1_000))
            while seen < bench.started.count {
                let id = bench.started[seen]
                seen += 1
                guard let (at, caller, priority) = entered.removeValue(forKey: id) else { continue }
                longest[priority] = max(longest[priority] ?? .zero, bench.now - at)
                entered[bench.enter(caller, priority)] = (bench.now, caller, priority)
            }
        }
        // One turn takes a second at most.
        for (priority, wait) in longest {
            let turns = ModelQueue.relief * (callers * Ticket.Priority.allCases.count + 1)
            #expect(wait <= ModelQueue.aging(of: priority) + .seconds(turns), "seed \(seed): \(priority) \(wait)")
        }
        #expect(Set(longest.keys) == Set(Ticket.Priority.allCases))
    }
}
