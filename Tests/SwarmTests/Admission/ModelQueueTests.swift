import Core
import Swarm
import Testing

/// One queue in virtual time: what is started runs for as long as the test says.
struct QueueBench {
    var queue: ModelQueue
    var now = Duration.zero
    private(set) var running: [UInt64] = []
    /// All that began, in order.
    private(set) var started: [UInt64] = []
    private(set) var others: [ModelQueue.Action] = []
    private var last: UInt64 = 0

    init(slots: Int = 1, length: Int = 512) {
        queue = ModelQueue(length: length)
        perform(queue.learned(slots: slots, at: now))
    }

    @discardableResult mutating func enter(
        _ caller: UInt64, _ priority: Ticket.Priority = .normal, cost: Int = 100, deadline: Duration? = nil,
        mayMove: Bool = true
    ) -> UInt64 {
        last += 1
        perform(
            queue.entered(
                ModelQueue.Request(
                    id: last, caller: caller, priority: priority, cost: cost, deadline: deadline, mayMove: mayMove),
                at: now))
        return last
    }

    /// The oldest of those that run ends, after so long.
    mutating func serve(after time: Duration = .seconds(1), used: Int? = 100) {
        guard !running.isEmpty else { return }
        now += time
        perform(queue.left(running.removeFirst(), used: used, at: now))
    }

    mutating func perform(_ actions: [ModelQueue.Action]) {
        for action in actions {
            if case .start(let id) = action {
                running.append(id)
                started.append(id)
            } else {
                others.append(action)
            }
        }
    }
}

@Suite("The queue of a model") struct ModelQueueTests {
    @Test("Nothing begins before the engine is known, and never more than it writes at once")
    func slots() {
        var queue = ModelQueue(length: 8)
        var started = 0
        for id in 1...5 as ClosedRange<UInt64> {
            started += queue.entered(ModelQueue.Request(id: id, caller: 1, cost: 1), at: .zero).count
        }
        #expect(started == 0)
        #expect(queue.learned(slots: 2, at: .zero) == [.start(1), .start(2)])
        #expect((queue.waitingCount, queue.runningCount) == (3, 2))
        #expect(queue.left(1, used: 1, at: .zero) == [.start(3)])
        #expect(queue.left(4, at: .zero).isEmpty, "one that waits goes without a trace")
        #expect(queue.left(2, used: 1, at: .zero) == [.start(5)])
    }

    @Test("A caller with 100 requests delays another's single one by one service time", arguments: [1, 2, 4, 8])
    func onePlace(slots: Int) {
        var bench = QueueBench(slots: slots)
        // Those that run were told to write much, and little comes of it: corrections must not put them first.
        for index in 0..<100 { bench.enter(1, cost: index < slots ? 4_000 : 100) }
        for _ in 0..<5 { bench.serve(used: 30) }
        let single = bench.enter(2, cost: 4_000)
        bench.serve(used: 30)
        #expect(bench.started.last == single)
    }

    @Test("Turns are fair by tokens, not by requests")
    func tokens() {
        var bench = QueueBench(length: 2_000)
        for _ in 0..<300 {
            bench.enter(1, cost: 1_000)
            bench.enter(2, cost: 1_000)
        }
        var used = [0, 0]
        for _ in 0..<220 {
            // The first caller's have odd numbers, and take ten times as much.
            let caller = bench.running[0] % 2 == 1 ? 0 : 1
            used[caller] += caller == 0 ? 500 : 50
            bench.serve(used: caller == 0 ? 500 : 50)
        }
        #expect(abs(used[0] - used[1]) <= 500, "\(used)")
    }

    @Test("Whoever was away has saved up nothing")
    func noCredit() {
        var bench = QueueBench()
        for _ in 0..<60 { bench.enter(1) }
        for _ in 0..<30 { bench.serve() }
        let first = bench.started.count
        for _ in 0..<30 { bench.enter(2) }
        for _ in 0..<20 { bench.serve() }
        let second = bench.started.dropFirst(first).count { $0 > 60 }
        #expect(second >= 9 && second <= 11, "\(second)")
    }

    @Test("The better class goes first")
    func classes() {
        var bench = QueueBench()
        bench.enter(1)
        let low = bench.enter(1, .low)
        let normal = bench.enter(2, .normal)
        let high = bench.enter(1, .high)
        #expect(bench.queue.waitingCount(of: .low) == 1)
        for _ in 0..<3 { bench.serve() }
        #expect(Array(bench.started.dropFirst()) == [high, normal, low])
    }

    @Test("The worst class is not starved: each of its lanes has a turn within its aging and four turns for each lane")
    func aging() {
        var bench = QueueBench()
        let lanes = 5
        for caller in 0..<6 as Range<UInt64> { bench.enter(caller, .high) }
        let low = (0..<lanes).map { bench.enter(100 + UInt64($0), .low) }
        for turn in 0..<200 {
            bench.serve()
            bench.enter(UInt64(turn % 6), .high)
            bench.enter(UInt64(turn % 6), .high)
        }
        // One turn takes a second.
        let bound = Int(ModelQueue.aging(of: .low).components.seconds) + ModelQueue.relief * (lanes + 1)
        for id in low { #expect(bench.started.prefix(bound + 1).contains(id)) }
        // And the better class keeps three turns of four.
        let begin = bench.started.firstIndex(of: low[0]) ?? 0
        let relieved = bench.started.dropFirst(begin).prefix(ModelQueue.relief * lanes).count { low.contains($0) }
        #expect(relieved == lanes)
    }

    @Test("What has waited for as long as it may ends, and takes no turn")
    func deadlines() {
        var bench = QueueBench()
        bench.enter(1)
        let late = bench.enter(1, deadline: .seconds(2))
        let other = bench.enter(1)
        #expect(bench.queue.nextDeadline == .seconds(2))
        bench.now = .seconds(2)
        bench.perform(bench.queue.ticked(at: bench.now))
        #expect(bench.others == [.expire(late, position: 2)])
        #expect(bench.queue.nextDeadline == nil)
        bench.serve()
        #expect(bench.started.last == other)
        let never = bench.enter(1, deadline: .seconds(1))
        #expect(bench.others.last == .expire(never, position: 1))
    }

    @Test("A full queue refuses with the position, and with the time that its pace makes of it")
    func full() {
        var bench = QueueBench(slots: 2, length: 3)
        for _ in 0..<2 { bench.enter(1) }
        for _ in 0..<40 {
            bench.serve(after: .seconds(3))
            bench.enter(1)
        }
        for _ in 0..<3 { bench.enter(1) }
        #expect(bench.others.isEmpty)
        let refused = bench.enter(1)
        guard case .refuse(refused, position: 4, let wait)? = bench.others.first else {
            Issue.record("\(bench.others)")
            return
        }
        // Two slots; each answer ran for six seconds.
        #expect(wait > .seconds(11) && wait < .seconds(13), "\(wait)")
        var none = QueueBench(length: 0)
        none.enter(1)
        none.enter(1)
        #expect(none.started == [1] && none.others.count == 1)
        var unknown = ModelQueue(length: 0)
        #expect(unknown.entered(ModelQueue.Request(id: 1, caller: 1, cost: 1), at: .zero).isEmpty)
        #expect(unknown.entered(ModelQueue.Request(id: 2, caller: 1, cost: 1), at: .zero).map(\.id) == [2])
        #expect(unknown.learned(slots: 4, at: .zero) == [.start(1)])
    }

    @Test("Who has most waiting gives way to who has less, and the worse class to the better")
    func givingWay() {
        var bench = QueueBench(length: 4)
        for _ in 0..<5 { bench.enter(1) }
        let other = bench.enter(2)
        #expect(bench.others.map(\.id) == [5], "the last of the one who has most")
        let high = bench.enter(1, .high)
        #expect(bench.others.map(\.id) == [5, 4])
        let low = bench.enter(3, .low)
        #expect(bench.others.map(\.id) == [5, 4, low], "the worse class pushes nobody out")
        for _ in 0..<4 { bench.serve() }
        #expect(Set(bench.started) == [1, 2, 3, other, high])
    }

    private static func helper(
        _ number: UInt64, free: Int, isCold: Bool = true, telling: UInt64 = 1
    ) -> ModelQueue.Helper {
        ModelQueue.Helper(
            node: NodeID(Bytes16(high: 1, low: number)), free: free, isCold: isCold, telling: telling)
    }

    @Test("What waits goes to who has nothing to do, once for each telling; what runs stays")
    func stealing() {
        var bench = QueueBench()
        for _ in 0..<6 { bench.enter(1) }
        bench.perform(bench.queue.compared(with: [Self.helper(1, free: 2)], isHot: false, at: bench.now))
        let idle = Self.helper(1, free: 2).node
        #expect(bench.others == [.move(2, to: idle, .steal), .move(3, to: idle, .steal)])
        bench.perform(bench.queue.compared(with: [Self.helper(1, free: 2)], isHot: false, at: bench.now))
        #expect(bench.others.count == 2, "it has not told since")
        bench.perform(
            bench.queue.compared(
                with: [Self.helper(1, free: 1, telling: 2), Self.helper(2, free: 1)], isHot: true, at: bench.now))
        let second = Self.helper(2, free: 1).node
        #expect(bench.others.suffix(2) == [.move(4, to: idle, .shed), .move(5, to: second, .shed)])
        #expect(bench.queue.waitingCount == 1 && bench.queue.runningCount == 1)
    }

    @Test("What may not move stays, and nothing moves while there is room here")
    func staying() {
        var bench = QueueBench(slots: 2)
        bench.enter(1)
        #expect(bench.queue.compared(with: [Self.helper(1, free: 2)], isHot: true, at: .zero).isEmpty)
        bench.enter(1)
        bench.enter(1, mayMove: false)
        let movable = bench.enter(1)
        bench.perform(bench.queue.compared(with: [Self.helper(1, free: 2, isCold: false)], isHot: true, at: .zero))
        #expect(bench.others == [.move(movable, to: Self.helper(1, free: 2).node, .steal)])
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

extension ModelQueue.Action {
    var id: UInt64 {
        switch self {
        case .start(let id), .refuse(let id, _, _), .expire(let id, _), .move(let id, _, _): id
        }
    }
}
