import Core
import Swarm
import Testing

/// A few hosts with the shipped machine, disks in memory and links that deliver at once and in order. Time moves only
/// where a test moves it.
struct ReplicationWorld {
    struct Disk {
        var operations: [Origin: [Operation]] = [:]
        var heads: [Origin: LogHead] = [:]
        var seals: [Origin: [BatchSeal]] = [:]
        /// Writes wait until the test lets them through.
        var isHeld = false
        var refuses = false
        var held: [Replication.Write] = []

        mutating func put(_ write: Replication.Write) {
            for operation in write.operations {
                let own = operations[operation.dot.origin] ?? []
                #expect(operation.dot.sequence == UInt64(own.count) + 1, "I10: \(operation.dot) leaves a gap")
                operations[operation.dot.origin, default: []].append(operation)
            }
            for head in write.heads { heads[head.origin] = head }
            for seal in write.seals { seals[seal.origin, default: []].append(seal) }
        }

        func batch(_ read: Replication.Read) -> OperationBatch? {
            let reach = read.after + UInt64(Limits.batchOperations)
            guard
                let seal = (seals[read.origin] ?? []).last(where: { $0.sequence > read.after && $0.sequence <= reach })
            else { return nil }
            let own = (operations[read.origin] ?? []).filter {
                $0.dot.sequence > read.after && $0.dot.sequence <= seal.sequence
            }
            return OperationBatch(operations: own, seal: seal)
        }
    }

    private struct Envelope {
        var from: Int
        var to: Int
        var bytes: [UInt8]
    }

    var machines: [Replication]
    var disks: [Disk]
    var now = Duration.seconds(1)
    /// Directed: messages from the first to the second vanish, as on a link that has stalled.
    var stalled: Set<[Int]> = []
    var queues: [Int: [NodeID: Int]] = [:]
    private(set) var notices: [[Replication.Notice]]
    private(set) var snapshotsWanted: [(host: Int, from: NodeID)] = []
    /// Copies of operations that a test has called damaged.
    private(set) var repairs: [(host: Int, batch: OperationBatch, from: Int)] = []
    private(set) var bytesSent = 0
    private(set) var order: [String] = []
    /// What each wants all to have.
    private(set) var broadcasts: [[OperationBatch]]
    private var network: [Envelope] = []
    private var isRunning = false

    init(_ count: Int) {
        machines = (0..<count).map {
            Replication(Fixture.recovered(UInt64($0 + 1)), seals: Fixture.seals(UInt64($0 + 1)), seed: UInt64($0))
        }
        disks = [Disk](repeating: Disk(), count: count)
        broadcasts = [[OperationBatch]](repeating: [], count: count)
        notices = [[Replication.Notice]](repeating: [], count: count)
    }

    static func node(_ host: Int) -> NodeID { NodeID(Bytes16(high: 0, low: UInt64(host + 1))) }
    static func origin(_ host: Int, epoch: UInt32 = 1) -> Origin { Fixture.origin(UInt64(host + 1), epoch: epoch) }
    private static func host(_ node: NodeID) -> Int { Int(node.bytes.low) - 1 }

    // MARK: - What a test does

    mutating func link(_ left: Int, _ right: Int) {
        step(.linked(Self.node(right)), left)
        step(.linked(Self.node(left)), right)
        settle()
    }

    mutating func linkAll() {
        for left in machines.indices { for right in machines.indices where left < right { link(left, right) } }
        // The neighbours are told.
        wait(.milliseconds(300))
    }

    mutating func unlink(_ left: Int, _ right: Int) {
        network.removeAll { [$0.from, $0.to] == [left, right] || [$0.from, $0.to] == [right, left] }
        step(.unlinked(Self.node(right)), left)
        step(.unlinked(Self.node(left)), right)
        settle()
    }

    /// The process on `host` starts again, over its disk: what it remembers of each stream is the end.
    mutating func restart(_ host: Int) {
        let heads = disks[host].heads.values.sorted { $0.origin < $1.origin }
        machines[host] = Replication(
            Fixture.recovered(UInt64(host + 1), epoch: 9, heads: heads), seals: Fixture.seals(UInt64(host + 1)),
            seed: UInt64(host))
    }

    @discardableResult
    mutating func write(_ host: Int, _ texts: String..., after: [Dot] = [], settles: Bool = true) throws -> [Operation]
    {
        order = []
        let (operations, effects) = try machines[host].propose(
            texts.map { Fixture.draft($0, after: after) }, now: now, wallClock: wall, queues: queues[host] ?? [:])
        perform(effects, host)
        if settles { settle() }
        return operations
    }

    mutating func wait(_ duration: Duration) {
        let end = now + duration
        while now < end {
            now += Replication.Timing.tick
            for host in machines.indices { step(.ticked, host) }
            settle()
        }
    }

    mutating func step(_ event: Replication.Event, _ host: Int) {
        perform(machines[host].step(event, now: now, wallClock: wall, queues: queues[host] ?? [:]), host)
    }

    mutating func releaseDisk(_ host: Int) {
        disks[host].isHeld = false
        let held = disks[host].held
        disks[host].held = []
        for write in held { commit(write, host) }
        settle()
    }

    /// Delivers what is on its way, and what follows from it.
    mutating func settle() {
        guard !isRunning else { return }
        isRunning = true
        defer { isRunning = false }
        while !network.isEmpty {
            let envelope = network.removeFirst()
            step(.received(envelope.bytes, from: Self.node(envelope.from)), envelope.to)
        }
    }

    var wall: UInt64 { Fixture.wall + UInt64(now / .milliseconds(1)) }

    func vector(_ host: Int) -> VersionVector { machines[host].vector }
    func isEqual() -> Bool { Set(machines.map(\.digest)).count == 1 }

    // MARK: - Effects

    mutating func perform(_ effects: [Replication.Effect], _ host: Int) {
        for effect in effects {
            switch effect {
            case .send(let bytes, let peer):
                order.append("send")
                bytesSent += bytes.count
                guard !stalled.contains([host, Self.host(peer)]) else { continue }
                network.append(Envelope(from: host, to: Self.host(peer), bytes: bytes))
            case .broadcast(let batch): broadcasts[host].append(batch)
            case .commit(let write):
                order.append("commit")
                if disks[host].isHeld { disks[host].held.append(write) } else { commit(write, host) }
            case .read(let read): step(.read(read, disks[host].batch(read)), host)
            case .fetchSnapshot(let peer): snapshotsWanted.append((host, peer))
            case .repair(let batch, let peer): repairs.append((host, batch, Self.host(peer)))
            case .notice(let notice): notices[host].append(notice)
            }
        }
    }

    private mutating func commit(_ write: Replication.Write, _ host: Int) {
        if disks[host].refuses {
            step(.refused(write.number, heads: disks[host].heads.values.sorted { $0.origin < $1.origin }), host)
        } else {
            disks[host].put(write)
            step(.stored(write.number), host)
        }
    }
}
