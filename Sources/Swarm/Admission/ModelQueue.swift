package import Core

/// Whose turn it is at one model of a host, whoever asks, and from wherever. A pure machine.
///
/// The next turn is the best class's: high, normal, low. Within a class it is fair between callers, by tokens: whoever
/// has been served the fewest is next, and has its own requests in their order. This is the virtual token counter of
/// Sheng et al., *Fairness in Serving Large Language Models* (OSDI 2024), which is start-time fair queueing (Goyal, Vin
/// and Cheng 1996) for work whose size is known only at its end. As there, who comes is lifted to the least counter of
/// those who are here, so that nobody saves up turns. Other than there, what runs counts with its prompt and the most
/// that it may write until it has ended, and a newcomer is lifted to what the others have been served without that: it
/// is next, however much of another caller's runs or waits.
///
/// Nobody starves, in whatever class: a lane (the requests of one caller in one class) of which nothing has begun for
/// ``aging`` while others had ``relief`` turns is overdue, and each ``relief``-th turn is that of the lane that is
/// overdue the most. The first of a lane so begins after at most its class's aging and ``relief`` turns for each lane
/// that was overdue before it, its k-th after k times that.
///
/// Bounds: `length` requests wait. When one more comes, the last of a worse class gives way, else the last of whoever
/// has more waiting than the one who comes; else it is refused. So a caller who sends much is refused, and no other.
package struct ModelQueue: Sendable {
    package typealias ID = UInt64

    package struct Request: Hashable, Sendable {
        package var id: ID
        package var caller: UInt64
        package var priority: Ticket.Priority
        /// Tokens of its prompt, and the most that it may write.
        package var cost: Int
        /// From when on it is too late to begin.
        package var deadline: Duration?
        /// It may wait at another host as well.
        package var mayMove: Bool

        package init(
            id: ID, caller: UInt64, priority: Ticket.Priority = .normal, cost: Int, deadline: Duration? = nil,
            mayMove: Bool = true
        ) {
            self.id = id
            self.caller = caller
            self.priority = priority
            self.cost = min(max(1, cost), Self.mostTokens)
            self.deadline = deadline
            self.mayMove = mayMove
        }

        fileprivate static let mostTokens = 1 << 30
    }

    package enum Action: Hashable, Sendable {
        case start(ID)
        /// There is no room. It would have been the `position`-th, and its turn would have come after `wait`.
        case refuse(ID, position: Int, wait: Duration)
        /// It has waited for as long as it may.
        case expire(ID, position: Int)
        /// It is to wait at that host.
        case move(ID, to: NodeID, Move)
    }

    package enum Move: String, Hashable, Sendable, CaseIterable {
        /// That host has nothing to do.
        case steal
        /// This host is hot, and that one cold (``HostLoad/hot``, ``HostLoad/cold``).
        case shed
    }

    /// A host that could take over what waits here.
    package struct Helper: Hashable, Sendable {
        package var node: NodeID
        /// Requests that would begin there at once.
        package var free: Int
        package var isCold: Bool
        /// Which of its tellings says so: what was sent there before the next one is not in it.
        package var telling: UInt64

        package init(node: NodeID, free: Int, isCold: Bool, telling: UInt64) {
            self.node = node
            self.free = free
            self.isCold = isCold
            self.telling = telling
        }
    }

    package static func aging(of priority: Ticket.Priority) -> Duration {
        priority == .low ? .seconds(30) : .seconds(10)
    }

    package static let relief = 4
    /// Of a model that has not answered yet.
    private static let usualService = Duration.seconds(1)

    private struct LaneKey: Hashable {
        var priority: Ticket.Priority
        var caller: UInt64
    }

    /// What one caller has waiting in one class; never empty.
    private struct Lane {
        var waiting: [Request]
        /// Since when nothing of it has begun, and how many turns there had been by then.
        var since: Duration
        var turns: UInt64
    }

    private struct Caller {
        /// Tokens that it has had, from where it was lifted to.
        var served: Int
        /// Of what runs.
        var outstanding = 0
        var waiting = 0
        var running = 0
        var lastTurn: UInt64 = 0

        var isActive: Bool { waiting + running > 0 }
    }

    private struct Running {
        var caller: UInt64
        var cost: Int
        var since: Duration
    }

    package let length: Int
    /// How many run at once; nil until the engine has said so: nothing begins before.
    package private(set) var slots: Int?
    private var lanes: [LaneKey: Lane] = [:]
    private var callers: [UInt64: Caller] = [:]
    private var running: [ID: Running] = [:]
    /// What a caller who comes is lifted to.
    private var floor = 0
    private var turns: UInt64 = 0
    private var lastRelief: UInt64 = 0
    private var sent: [NodeID: (telling: UInt64, count: Int)] = [:]
    package private(set) var waitingCount = 0
    private var deadlines = 0
    /// How long a request runs, and what it takes, by those that have ended: the latest count most.
    package private(set) var service: Duration?
    private var usualCost: Int?

    package init(length: Int) { self.length = length }

    package var runningCount: Int { running.count }

    package func waitingCount(of priority: Ticket.Priority) -> Int {
        lanes.reduce(0) { $0 + ($1.key.priority == priority ? $1.value.waiting.count : 0) }
    }

    /// How long who is the `position`-th now will have to wait.
    package func wait(at position: Int) -> Duration {
        (service ?? Self.usualService) * position / max(1, slots ?? 1)
    }

    /// When ``ticked(at:)`` is to be called.
    package var nextDeadline: Duration? {
        guard deadlines > 0 else { return nil }
        return lanes.values.lazy.flatMap(\.waiting).compactMap(\.deadline).min()
    }

    // MARK: - Events

    package mutating func entered(_ request: Request, at now: Duration) -> [Action] {
        var actions = ticked(at: now)
        if let deadline = request.deadline, deadline <= now {
            return actions + [.expire(request.id, position: waitingCount + 1)]
        }
        // An engine that has not said how many it takes will take one.
        let isBusy = slots.map { running.count >= $0 } ?? (waitingCount > 0)
        if isBusy, waitingCount >= length {
            let position = waitingCount + 1
            guard let victim = victim(for: request) else {
                return actions + [.refuse(request.id, position: position, wait: wait(at: position))]
            }
            remove(victim.id, of: victim.lane)
            actions.append(.refuse(victim.id, position: position - 1, wait: wait(at: position - 1)))
        }
        if callers[request.caller]?.isActive != true {
            callers[request.caller] = Caller(served: max(floor, callers[request.caller]?.served ?? 0))
        }
        callers[request.caller]?.waiting += 1
        let key = LaneKey(priority: request.priority, caller: request.caller)
        lanes[key, default: Lane(waiting: [], since: now, turns: turns)].waiting.append(request)
        waitingCount += 1
        if request.deadline != nil { deadlines += 1 }
        return actions + advance(at: now)
    }

    /// Whoever asked it has gone, or it has ended.
    ///
    /// - Parameter used: the tokens that it took; nil for one that was not really served.
    package mutating func left(_ id: ID, used: Int? = nil, at now: Duration) -> [Action] {
        if let entry = running.removeValue(forKey: id) {
            let used = used.map { min(max(0, $0), Request.mostTokens) }
            callers[entry.caller]?.running -= 1
            callers[entry.caller]?.outstanding -= entry.cost
            callers[entry.caller]?.served += used ?? 0
            if let used { measured(now - entry.since, used) }
        } else if let lane = lanes.first(where: { $0.value.waiting.contains { $0.id == id } })?.key {
            remove(id, of: lane)
        }
        settle()
        return ticked(at: now) + advance(at: now)
    }

    /// The engine has said how many it takes at once.
    package mutating func learned(slots: Int, at now: Duration) -> [Action] {
        self.slots = max(1, slots)
        return ticked(at: now) + advance(at: now)
    }

    /// Lets go of what has waited for too long.
    package mutating func ticked(at now: Duration) -> [Action] {
        guard deadlines > 0 else { return [] }
        let position = waitingCount
        var late: [ID] = []
        for (key, lane) in lanes {
            for request in lane.waiting {
                guard let deadline = request.deadline, deadline <= now else { continue }
                remove(request.id, of: key)
                late.append(request.id)
            }
        }
        if !late.isEmpty { settle() }
        return late.sorted().map { .expire($0, position: position) }
    }

    /// Other hosts have told of their loads: what waits here may begin there at once.
    ///
    /// - Parameter isHot: this host's processors have too much to do.
    package mutating func compared(with helpers: [Helper], isHot: Bool, at now: Duration) -> [Action] {
        var actions = ticked(at: now)
        sent = sent.filter { entry in helpers.contains { $0.node == entry.key && $0.telling == entry.value.telling } }
        guard let slots, running.count >= slots else { return actions }
        for helper in helpers.sorted(by: { ($0.isCold ? 0 : 1, $0.node) < ($1.isCold ? 0 : 1, $1.node) }) {
            var free = helper.free - (sent[helper.node]?.count ?? 0)
            while free > 0, let (key, index) = nextToMove {
                guard let request = lanes[key]?.waiting[index] else { break }
                take(request, from: key, at: now)
                // It has its turn elsewhere; what it will take is guessed.
                callers[key.caller]?.served += min(request.cost, usualCost ?? request.cost)
                sent[helper.node] = (helper.telling, (sent[helper.node]?.count ?? 0) + 1)
                free -= 1
                actions.append(.move(request.id, to: helper.node, isHot && helper.isCold ? .shed : .steal))
            }
        }
        settle()
        return actions
    }

    // MARK: - Turns

    private mutating func advance(at now: Duration) -> [Action] {
        var actions: [Action] = []
        while running.count < slots ?? 0, let (key, isRelief) = next(at: now), let request = lanes[key]?.waiting.first {
            take(request, from: key, at: now)
            if isRelief { lastRelief = turns }
            callers[key.caller]?.running += 1
            callers[key.caller]?.outstanding += request.cost
            running[request.id] = Running(caller: key.caller, cost: request.cost, since: now)
            actions.append(.start(request.id))
        }
        return actions
    }

    private func next(at now: Duration) -> (LaneKey, isRelief: Bool)? {
        guard let best = lanes.keys.min(by: { order(of: $0) < order(of: $1) }) else { return nil }
        guard turns - lastRelief >= Self.relief - 1 else { return (best, false) }
        let overdue = lanes.filter { key, lane in
            now - lane.since > Self.aging(of: key.priority) && turns - lane.turns >= Self.relief - 1
        }
        // Of equals the one whose first came first.
        let longest = overdue.min { left, right in
            let a = left.value.since + Self.aging(of: left.key.priority)
            let b = right.value.since + Self.aging(of: right.key.priority)
            return a != b ? a < b : order(of: left.key) < order(of: right.key)
        }
        guard let longest, longest.key != best else { return (best, false) }
        return (longest.key, true)
    }

    private struct Order: Comparable {
        var priority: Ticket.Priority
        var served: Int
        var lastTurn: UInt64
        var first: ID

        static func < (left: Order, right: Order) -> Bool {
            (left.priority, left.served, left.lastTurn, left.first)
                < (right.priority, right.served, right.lastTurn, right.first)
        }
    }

    private func order(of key: LaneKey) -> Order {
        let caller = callers[key.caller]
        return Order(
            priority: key.priority, served: (caller?.served ?? 0) + (caller?.outstanding ?? 0),
            lastTurn: caller?.lastTurn ?? 0, first: lanes[key]?.waiting.first?.id ?? 0)
    }

    private var nextToMove: (LaneKey, Int)? {
        let movable = lanes.compactMap { key, lane in lane.waiting.firstIndex(where: \.mayMove).map { (key, $0) } }
        return movable.min { order(of: $0.0) < order(of: $1.0) }
    }

    /// It is this lane's turn.
    private mutating func take(_ request: Request, from key: LaneKey, at now: Duration) {
        turns += 1
        lanes[key]?.since = now
        lanes[key]?.turns = turns
        callers[key.caller]?.lastTurn = turns
        remove(request.id, of: key)
    }

    private mutating func remove(_ id: ID, of key: LaneKey) {
        guard var lane = lanes[key], let index = lane.waiting.firstIndex(where: { $0.id == id }) else { return }
        if lane.waiting.remove(at: index).deadline != nil { deadlines -= 1 }
        lanes[key] = lane.waiting.isEmpty ? nil : lane
        callers[key.caller]?.waiting -= 1
        waitingCount -= 1
    }

    /// Who gives way to a request for which there is no room.
    private func victim(for request: Request) -> (id: ID, lane: LaneKey)? {
        let own = callers[request.caller]?.waiting ?? 0
        let lane = lanes.keys.filter { key in
            key.priority > request.priority
                || key.priority == request.priority && (callers[key.caller]?.waiting ?? 0) > own + 1
        }.max { left, right in
            let (a, b) = (callers[left.caller]?.waiting ?? 0, callers[right.caller]?.waiting ?? 0)
            return (left.priority, a, left.caller) < (right.priority, b, right.caller)
        }
        guard let lane, let last = lanes[lane]?.waiting.last else { return nil }
        return (last.id, lane)
    }

    // MARK: - Counters

    private mutating func settle() {
        let least = callers.values.lazy.filter(\.isActive).map(\.served).min()
        if let least {
            floor = max(floor, least)
            // Whoever is below is lifted to it anyway.
            callers = callers.filter { $0.value.isActive || $0.value.served > floor }
            guard callers.count > Self.callersKept + waitingCount + running.count else { return }
            let idle = callers.filter { !$0.value.isActive }.sorted {
                ($0.value.served, $0.key) < ($1.value.served, $1.key)
            }
            for (caller, _) in idle.prefix(idle.count - Self.callersKept / 2) { callers[caller] = nil }
        } else {
            floor = max(floor, callers.values.lazy.map(\.served).max() ?? 0)
            callers = [:]
        }
    }

    /// Of those who have nothing here at present.
    private static let callersKept = 1_024

    private mutating func measured(_ duration: Duration, _ used: Int) {
        service = service.map { $0 + (duration - $0) / 5 } ?? duration
        usualCost = usualCost.map { $0 + (used - $0) / 5 } ?? used
    }
}
