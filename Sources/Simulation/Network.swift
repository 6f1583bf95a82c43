import Core
import Swarm

/// The wires between the hosts, as TCP shows them: a connection delivers in order or breaks, never loses or repeats;
/// what a cut path holds back arrives after the cut, or the connection ends in silence.
struct Network {
    /// One end of a connection: which host, and which of its starts.
    struct End: Hashable {
        var host: Int
        var run: Int
    }

    enum Item {
        case message([UInt8])
        /// The other side has closed.
        case end
    }

    /// One direction of a connection.
    struct Lane {
        /// When the last item under way arrives: order is kept.
        var lastArrival: Duration = .zero
        var bytesUnderWay = 0
        /// What a cut or clogged path keeps back.
        var held: [Item] = []
        var heldSince: Duration?
        /// The receiver does not know this connection any more (power cut): nothing arrives.
        var isVoid = false
    }

    struct Connection {
        /// The dialing side first.
        var ends: [End]
        var lanes = [Lane(), Lane()]
        /// Whether the side's own process still has it open.
        var isOpen = [true, true]
    }

    let latency: Duration
    /// Bytes a second into each host; nil for as fast as can be.
    var bandwidth: [Int: Int] = [:]
    private(set) var connections: [Int: Connection] = [:]
    private var nextID = 1
    /// Connections on which much was under way at some time.
    private var busy: Set<Int> = []
    private static let much = 16 * 1024
    var isBusy: Bool { !busy.isEmpty }
    /// Directed pairs over which nothing passes.
    private var blocked: Set<Pair> = []

    struct Pair: Hashable, Comparable {
        var from: Int
        var to: Int

        static func < (left: Pair, right: Pair) -> Bool { (left.from, left.to) < (right.from, right.to) }
    }

    init(latency: Duration) { self.latency = latency }

    func isBlocked(_ from: Int, _ to: Int) -> Bool { blocked.contains(Pair(from: from, to: to)) }

    mutating func block(_ from: Int, _ to: Int) { blocked.insert(Pair(from: from, to: to)) }

    /// Opens a path again. Returns the connections that have something held back on it, with the side it goes to.
    mutating func unblock(_ from: Int, _ to: Int) -> [(connection: Int, side: Int)] {
        guard blocked.remove(Pair(from: from, to: to)) != nil else { return [] }
        var waiting: [(connection: Int, side: Int)] = []
        for (id, connection) in connections {
            for side in 0..<2
            where connection.ends[1 - side].host == from && connection.ends[side].host == to
                && !connection.lanes[side].held.isEmpty
            {
                waiting.append((id, side))
            }
        }
        return waiting.sorted { ($0.connection, $0.side) < ($1.connection, $1.side) }
    }

    var blockedPairs: [Pair] { blocked.sorted() }

    mutating func connect(_ dialing: End, _ accepting: End) -> Int {
        defer { nextID += 1 }
        connections[nextID] = Connection(ends: [dialing, accepting])
        return nextID
    }

    /// Puts an item on its way to `side`. Returns when it arrives; nil when it is held back or goes nowhere.
    mutating func send(_ item: Item, over id: Int, to side: Int, at now: Duration, _ chance: inout Chance) -> Duration?
    {
        guard let connection = connections[id] else { return nil }
        let lane = connection.lanes[side]
        guard !lane.isVoid else { return nil }
        let (from, to) = (connection.ends[1 - side].host, connection.ends[side].host)
        if !lane.held.isEmpty || bandwidth[to] != nil || isBlocked(from, to) {
            connections[id]?.lanes[side].held.append(item)
            busy.insert(id)
            if lane.heldSince == nil { connections[id]?.lanes[side].heldSince = now }
            return nil
        }
        return arrival(of: item, over: id, to: side, at: now, &chance)
    }

    private mutating func arrival(
        of item: Item, over id: Int, to side: Int, at now: Duration, _ chance: inout Chance
    ) -> Duration? {
        guard let connection = connections[id] else { return nil }
        var lane = connection.lanes[side]
        let arrival = max(now + chance.tailed(latency), lane.lastArrival)
        if case .message(let bytes) = item {
            lane.bytesUnderWay += bytes.count
            if lane.bytesUnderWay > Self.much { busy.insert(id) }
        }
        lane.lastArrival = arrival
        connections[id]?.lanes[side] = lane
        return arrival
    }

    /// What was held back goes on its way: TCP sends again after a pause that grew with the outage.
    mutating func release(
        _ id: Int, to side: Int, at now: Duration, _ chance: inout Chance
    ) -> [(item: Item, arrival: Duration)] {
        guard let lane = connections[id]?.lanes[side], let since = lane.heldSince else { return [] }
        let pause = chance.between(.zero, min(now - since, .seconds(2)) + .microseconds(1))
        connections[id]?.lanes[side].held = []
        connections[id]?.lanes[side].heldSince = nil
        return lane.held.compactMap { item in
            arrival(of: item, over: id, to: side, at: now + pause, &chance).map { (item, $0) }
        }
    }

    /// A slow reader takes the next of what waits for it. Returns the item, when it arrives, and when it can take one
    /// more; nil while the path is cut, or nothing waits.
    mutating func trickle(
        _ id: Int, to side: Int, at now: Duration, _ chance: inout Chance
    ) -> (item: Item, arrival: Duration, next: Duration)? {
        guard let connection = connections[id], let item = connection.lanes[side].held.first,
            let rate = bandwidth[connection.ends[side].host],
            !isBlocked(connection.ends[1 - side].host, connection.ends[side].host)
        else { return nil }
        connections[id]?.lanes[side].held.removeFirst()
        // It moves: nobody's patience ends.
        connections[id]?.lanes[side].heldSince = connection.lanes[side].held.count > 1 ? now : nil
        var bytes = 0
        if case .message(let message) = item { bytes = message.count }
        guard let arrival = arrival(of: item, over: id, to: side, at: now, &chance) else { return nil }
        return (item, arrival, now + .microseconds(bytes * 1_000_000 / max(1, rate)))
    }

    /// Whether a slow reader, and nothing else, keeps something back.
    func isSlow(_ id: Int, to side: Int) -> Bool {
        connections[id].map { bandwidth[$0.ends[side].host] != nil } ?? false
    }

    /// The lanes that have something held back, whatever the reason.
    var heldLanes: [(connection: Int, side: Int)] {
        connections.keys.sorted().flatMap { id in
            [0, 1].filter { connections[id]?.lanes[$0].held.isEmpty == false }.map { (id, $0) }
        }
    }

    /// A message has arrived.
    mutating func arrived(_ bytes: Int, over id: Int, to side: Int) {
        connections[id]?.lanes[side].bytesUnderWay -= bytes
    }

    /// What waits to be written at `end`, as its socket would tell.
    func queuedBytes(from end: End, over link: LinkNumber?) -> Int {
        guard let link, let connection = connections[Int(link.rawValue)],
            let side = connection.ends.firstIndex(of: end)
        else { return 0 }
        let lane = connection.lanes[1 - side]
        var bytes = lane.bytesUnderWay
        for case .message(let message) in lane.held { bytes += message.count }
        return bytes
    }

    /// A side's own process has closed it, or died.
    mutating func close(_ id: Int, side: Int) {
        connections[id]?.isOpen[side] = false
        guard connections[id]?.isOpen == [false, false] else { return }
        connections[id] = nil
        busy.remove(id)
    }

    /// The machine at `side` lost its power: it says no goodbye, and nothing reaches it.
    mutating func void(_ id: Int, side: Int) {
        void(id, lane: side)
        close(id, side: side)
    }

    /// Nothing arrives at `side` any more.
    mutating func void(_ id: Int, lane side: Int) {
        connections[id]?.lanes[side].isVoid = true
        connections[id]?.lanes[side].held = []
        connections[id]?.lanes[side].heldSince = nil
    }

    func side(of end: End, in id: Int) -> Int? { connections[id]?.ends.firstIndex(of: end) }

    /// The connections that `end` has open, ascending.
    func connections(of end: End) -> [Int] {
        connections.filter { _, connection in
            connection.ends.firstIndex(of: end).map { connection.isOpen[$0] } ?? false
        }.keys.sorted()
    }

    func connections(between first: End, _ second: End) -> [Int] {
        connections(of: first).filter { connections[$0]?.ends.contains(second) == true }
    }
}
