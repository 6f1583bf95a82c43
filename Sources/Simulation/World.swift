import Core
import Cryptography
import Swarm

/// The world of one seed: hosts with the shipped machines on them, wires, disks, clients, and everything that may go
/// wrong. One thing happens after another, in an order that the seed alone decides.
package struct World {
    enum Event {
        /// An item arrives at one side of a connection.
        case arrive(Network.Item, connection: Int, side: Int)
        /// Both sides of a dialed connection have finished their handshakes, or the dial came to nothing.
        case dialed(host: Int, run: Int, NetworkAddress)
        case redial(host: Int, run: Int, NetworkAddress, waited: Duration)
        case dialFailed(host: Int, run: Int, NetworkAddress, LinkFailure)
        /// A side's connection was held back for longer than its system waits.
        case lapsed(connection: Int, side: Int, since: Duration)
        /// A slow reader takes one message more.
        case trickle(connection: Int, side: Int)
        case tick(host: Int, run: Int)
        /// A commit has come back from the disk.
        case committed(host: Int, run: Int, number: UInt64)
        case read(host: Int, run: Int, Replication.Read)
        /// After a refusal: where the store stands.
        case reread(host: Int, run: Int, Replication.Write)
        /// Rows that count what was refused are put right.
        case mend(host: Int, run: Int)
        case snapshotPart(host: Int, run: Int)
        /// The ring of keys has come to the disk.
        case ringKept(host: Int, run: Int, ring: [UInt8], revision: UInt64)
        case snapshotFailed(host: Int, run: Int, from: NodeID)
        /// The disk's own background sync.
        case synced(host: Int, run: Int)
        case beacon(host: Int, run: Int, number: Int)
        case sighted(host: Int, run: Int, Sighting)
        case client(host: Int)
        case answered(host: Int, run: Int, Question)
        case thaw(host: Int)
        case doze(host: Int)
        /// A starved host comes to the next of what waits for it.
        case work(host: Int)
        case nemesis(Nemesis)
        case check

        var isTick: Bool { if case .tick = self { true } else { false } }
    }

    /// A client's turn that waits for the model's answer.
    struct Question {
        var stream: StreamID
        var dot: Dot
    }

    let options: RunOptions
    let faults: Faults
    /// Planted in this run.
    var bug: Bug? { options.bug }
    var now: Duration = .zero
    var queue = EventQueue<Event>()
    var network: Network
    /// Under which key each connection was opened.
    var linkKeys: [Int: SwarmID] = [:]
    var hosts: [Host] = []
    var checker = Checker()
    var workload: Workload
    var trace: Trace
    /// When everything was repaired.
    var healed: Duration?
    /// When every member had kept that a host was evicted.
    var evictionKnown: Duration?
    var meshLimit: Int { options.meshLimit ?? (faults.contains(.smallMesh) ? 4 : Limits.meshHosts) }

    // A stream of chance for each part of the world.
    var seeds: Chance
    var wire: Chance
    var disks: Chance
    var clients: Chance
    var fate: Chance

    package static func run(_ options: RunOptions, print: (@Sendable (String) -> Void)? = nil) -> RunReport {
        var world = World(options, print: print)
        return world.run()
    }

    init(_ options: RunOptions, print: (@Sendable (String) -> Void)?) {
        self.options = options
        trace = Trace(print: print)
        seeds = Chance(seed: options.seed, stream: 1)
        wire = Chance(seed: options.seed, stream: 2)
        disks = Chance(seed: options.seed, stream: 3)
        clients = Chance(seed: options.seed, stream: 4)
        var fate = Chance(seed: options.seed, stream: 5)
        // Drawn also where they are given: what follows stays the same.
        let (drawnFaults, drawnCount) = (Faults.draw(&fate), 2 + fate.below(7))
        var apart = Chance(seed: options.seed, stream: 6)
        faults = options.faults ?? Faults.drawApart(drawnFaults, &apart)
        // Where they are drawn not so many that they cost more than all other seeds together.
        let more = faults.contains(.smallMesh) ? options.faults == nil ? 3 : 8 : 0
        let count = options.hosts ?? drawnCount + more
        network = Network(latency: .microseconds([150, 400, 2_000, 10_000][fate.below(4)]))
        workload = Workload(&fate, deletes: faults.contains(.deletions))
        self.fate = fate
        for index in 0..<count { addHost(isForeign: false, copying: nil, index: index) }
        if faults.contains(.foreign) { addHost(isForeign: true, copying: nil, index: count) }
        let end = faultsEnd
        for (time, nemesis) in Nemesis.plan(faults, hosts: count, until: end, &self.fate) {
            queue.add(.nemesis(nemesis), at: time)
        }
        // The last one may come late, to a log that is long by then.
        let latecomer = faults.contains(.latecomer) && count > 2 ? count - 1 : nil
        for index in hosts.indices {
            let start =
                index == latecomer ? self.fate.between(.seconds(10), end) : self.fate.between(.zero, .seconds(2))
            queue.add(.nemesis(.start(index)), at: start)
        }
        queue.add(.check, at: .seconds(1))
    }

    /// From here on nothing is broken any more.
    private var faultsEnd: Duration { options.length - max(options.length / 4, .seconds(12)) }

    private static let keys = keys(1)
    private static let foreignKeys = keys(2)

    private static func keys(_ number: UInt8) -> SwarmKeys {
        do {
            return try SwarmKeys(SymmetricKey([UInt8](repeating: number, count: 32)))
        } catch {
            // The simulator alone, and the same 32 bytes in every run: nothing from outside gets here.
            fatalError("32 bytes are a key: \(error)")
        }
    }

    private mutating func addHost(isForeign: Bool, copying original: Int?, index: Int) {
        let number = UInt64(original ?? index) + 1
        // Far apart and not in the order of the indices, as hashes of keys are.
        var mixer = SplitMix64(seed: options.seed &+ number &* 0x1234_5678_9ABC_DEF1)
        let id = Bytes16(high: mixer.next(), low: mixer.next())
        var clock = WallClock()
        if faults.contains(.clocks) {
            clock.offset = Int64(fate.below(120_000)) - 60_000
            clock.drift = Int64(fate.below(400)) - 200
        }
        hosts.append(
            Host(
                index: index, node: NodeID(id), publicKey: id.bytes + id.bytes,
                root: isForeign ? Self.foreignKeys : Self.keys,
                address: NetworkAddress(host: "10.0.0.\(index + 1)", port: 8080), isForeign: isForeign,
                isClone: original != nil, disk: original.map { Disk(copying: hosts[$0].disk) } ?? Disk(), clock: clock))
    }

    // MARK: - The loop

    private mutating func run() -> RunReport {
        while let (time, event) = queue.removeFirst(), time <= options.length, checker.violations.count < 4 {
            now = time
            handle(event)
        }
        now = options.length
        finish()
        return RunReport(
            seed: options.seed, faults: faults, hosts: hosts.count, violations: checker.violations,
            traceHash: trace.hash, events: trace.events, operations: checker.operations,
            acknowledged: checker.acknowledged.count, falseDeaths: checker.falseDeaths,
            starvedDeaths: checker.starvedDeaths,
            recovery: checker.recovered.flatMap { end in healed.map { end - $0 } })
    }

    private mutating func handle(_ event: Event) {
        switch event {
        case .nemesis(let nemesis): strike(nemesis)
        case .check:
            check()
            queue.add(.check, at: now + (healed == nil ? .seconds(1) : .milliseconds(100)))
        case .client(let host):
            queue.add(.client(host: host), at: now + workload.pause(&clients))
            deliver(event, to: host)
        case .doze(let host): doze(host)
        case .thaw(let host): thaw(host)
        case .work(let host): worked(host)
        case .trickle(let connection, let side): trickle(connection, side)
        case .lapsed(let connection, let side, let since): lapse(connection, side, since)
        case .arrive(_, let connection, let side):
            guard let end = network.connections[connection]?.ends[side] else { return }
            guard hosts[end.host].run == end.run, hosts[end.host].isUp else {
                if hosts[end.host].power != .off { reset(connection, from: side) }
                return
            }
            deliver(event, to: end.host, run: end.run)
        case .redial(let host, let run, _, _), .dialed(let host, let run, _), .dialFailed(let host, let run, _, _),
            .tick(let host, let run),
            .beacon(let host, let run, _), .sighted(let host, let run, _), .answered(let host, let run, _):
            deliver(event, to: host, run: run)
        case .committed(let host, let run, _), .synced(let host, let run), .read(let host, let run, _),
            .snapshotPart(let host, let run), .ringKept(let host, let run, _, _), .snapshotFailed(let host, let run, _),
            .mend(let host, let run),
            .reread(let host, let run, _):
            deliver(event, to: host, run: run)
        }
    }

    /// Hands an event to a host's process; a frozen one gets it later, a dead one never.
    private mutating func deliver(_ event: Event, to host: Int, run: Int? = nil) {
        if let run, hosts[host].run != run { return }
        switch hosts[host].power {
        case .off, .idle: return
        case .frozen: hosts[host].deferred.append(event)
        case .running:
            if hosts[host].isStarved, !hosts[host].deferred.isEmpty, !event.isTick {
                hosts[host].deferred.append(event)
            } else {
                happen(event, at: host)
            }
        }
    }

    private mutating func thaw(_ host: Int) {
        guard hosts[host].power == .frozen else { return }
        hosts[host].power = .running
        trace.note(1, UInt64(host), at: now, "host \(host) goes on")
        if !hosts[host].isStarved { return catchUp(host) }
        // Its timers fire before it has read what came meanwhile.
        let ticks = hosts[host].deferred.filter(\.isTick)
        hosts[host].deferred.removeAll(where: \.isTick)
        for tick in ticks { happen(tick, at: host) }
        work(host)
    }

    /// A starved host takes its time for each event.
    private mutating func work(_ host: Int) {
        guard hosts[host].power == .running, hosts[host].isStarved, !hosts[host].deferred.isEmpty,
            !hosts[host].isWorking
        else { return }
        hosts[host].isWorking = true
        queue.add(.work(host: host), at: now + fate.between(.zero, options.stall / 50))
    }

    private mutating func worked(_ host: Int) {
        hosts[host].isWorking = false
        guard hosts[host].power == .running, hosts[host].isStarved, !hosts[host].deferred.isEmpty else { return }
        happen(hosts[host].deferred.removeFirst(), at: host)
        work(host)
    }

    private mutating func catchUp(_ host: Int) {
        let events = hosts[host].deferred
        hosts[host].deferred = []
        for event in events where hosts[host].power == .running { happen(event, at: host) }
    }

    /// A starved host gets the processor in slices: half of the time it stands still.
    private mutating func doze(_ host: Int) {
        guard hosts[host].isStarved else { return }
        let sleep = fate.tailed(options.stall)
        freeze(host, until: now + sleep)
        queue.add(.doze(host: host), at: now + sleep + fate.tailed(options.stall))
    }

    mutating func freeze(_ host: Int, until end: Duration) {
        guard hosts[host].power == .running else { return }
        hosts[host].power = .frozen
        trace.note(2, UInt64(host), at: now, "host \(host) stands still")
        queue.add(.thaw(host: host), at: end)
    }

    // MARK: - Faults

    private mutating func strike(_ nemesis: Nemesis) {
        trace.note(3, 0, at: now, "nemesis: \(nemesis)")
        switch nemesis {
        case .block(let pairs): for pair in pairs { network.block(pair.from, pair.to) }
        case .unblock(let pairs): for pair in pairs { unblock(pair) }
        case .reset(let first, let second):
            for id in network.connections.keys.sorted() {
                guard let ends = network.connections[id]?.ends,
                    Set(ends.map(\.host)) == [first, second]
                else { continue }
                for side in 0..<2 { queue.add(.arrive(.end, connection: id, side: side), at: now) }
            }
        case .freeze(let host, let end): freeze(host, until: end)
        case .kill(let host): stop(host, losingPower: false)
        case .powerCut(let host): stop(host, losingPower: true)
        case .start(let host): if !hosts[host].isUp { start(host) }
        case .copyDisk(let host): hosts[host].disk.makeCopy()
        case .rollBack(let host):
            guard !hosts[host].isUp else { return }
            checker.forgave(hosts[host].disk.rollBack(isWhole: fate.hits(1, of: 2)))
            start(host)
        case .clone(let original):
            guard hosts[original].run > 0 else { return }
            addHost(isForeign: false, copying: original, index: hosts.count)
            hosts[hosts.count - 1].ring = hosts[original].ring
            start(hosts.count - 1)
        case .removeClone: for host in hosts.indices where hosts[host].isClone { remove(host) }
        case .slowDisk(let host, let delay): hosts[host].diskDelay = delay
        case .fullDisk(let host, let isFull): hosts[host].isDiskFull = isFull
        case .jumpClock(let host, let milliseconds): hosts[host].clock.offset += milliseconds
        case .slowReader(let host, let rate):
            network.bandwidth[host] = rate
        case .starve(let host, let isOn):
            hosts[host].isStarved = isOn
            if isOn { queue.add(.doze(host: host), at: now) }
        case .rotate(let host): rotate(at: host)
        case .evict(let victim, let host): evict(victim, by: host)
        case .heal: heal()
        }
    }

    private mutating func heal() {
        healed = now
        for pair in network.blockedPairs { unblock(pair) }
        network.bandwidth = [:]
        for (connection, side) in network.heldLanes { release(connection, side) }
        for host in hosts.indices {
            hosts[host].diskDelay = .milliseconds(4)
            hosts[host].isDiskFull = false
            hosts[host].isStarved = false
            hasten(host)
            if hosts[host].isMember || hosts[host].isForeign || hosts[host].isEvicted {
                thaw(host)
                if hosts[host].power == .running { catchUp(host) }
                if !hosts[host].isUp { start(host) }
            }
        }
    }

    private mutating func remove(_ host: Int) {
        stop(host, losingPower: true)
        hosts[host].run += 1
        // Who wrote on it was promised one disk, and that disk is gone.
        checker.forgave(hosts[host].disk.image.operations.values.joined().map(\.dot))
    }

    private mutating func stop(_ host: Int, losingPower: Bool) {
        guard hosts[host].isUp else { return }
        let end = hosts[host].end
        for id in network.connections(of: end) {
            guard let side = network.side(of: end, in: id) else { continue }
            if losingPower {
                network.void(id, side: side)
            } else {
                // The system says goodbye for it.
                sendItem(.end, over: id, to: 1 - side)
                network.close(id, side: side)
            }
        }
        abandonWrites(at: host)
        hosts[host].process = nil
        hosts[host].deferred = []
        hosts[host].power = losingPower ? .off : .idle
        if losingPower { checker.lost(hosts[host].disk.cutPower(&disks), by: host) }
        trace.note(4, UInt64(host), losingPower ? 1 : 0, at: now, "host \(host) stops")
    }
}
