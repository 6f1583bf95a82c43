import Core
import Swarm

/// Hosts with a keeper each over logs that reach one another or not: kills, restarts, splits.
struct RequestWorld {
    struct Host {
        var keeper: RequestKeeper
        var isUp = true
        var starts: UInt64 = 0
        /// What its log holds; it outlives a kill.
        var log: [Operation] = []
        var known: Set<Dot> = []
        var sequence: UInt64 = 0
        var clock = HybridClock()
        /// When the runs of this host end, and those that were stopped.
        var runs: [Dot: Int] = [:]
        var stops: [Dot: RequestKeeper.Stop] = [:]
        /// On the other side of the split.
        var side = 0
    }

    static let step = Duration.milliseconds(100)

    var generator: SplitMix64
    var hosts: [Host] = []
    var tick = 0
    var opened: [Dot] = []
    var runsBegun = 0
    let nodes: [NodeID]

    init(seed: UInt64, hosts count: Int) {
        generator = SplitMix64(seed: seed)
        nodes = (0..<count).map { NodeID(Bytes16(high: 0, low: UInt64($0) &+ 1)) }
        hosts = nodes.map { Host(keeper: RequestKeeper(node: $0, instance: InstanceID($0.bytes))) }
    }

    var now: Duration { Self.step * tick }
    var wall: UInt64 { UInt64(tick) * 100 + 1_000_000 }

    func sees(_ one: Int, _ other: Int) -> Bool {
        hosts[one].isUp && hosts[other].isUp && hosts[one].side == hosts[other].side
    }

    // MARK: - Faults

    mutating func kill(_ host: Int) {
        hosts[host].isUp = false
        hosts[host].runs = [:]
        hosts[host].stops = [:]
    }

    /// The keeper begins anew, with what the log holds.
    mutating func start(_ host: Int) {
        hosts[host].isUp = true
        hosts[host].starts += 1
        hosts[host].keeper = RequestKeeper(
            node: nodes[host], instance: InstanceID(Bytes16(high: hosts[host].starts, low: UInt64(host))))
        perform(hosts[host].keeper.noted(hosts[host].log, at: now, wall: wall), on: host)
    }

    mutating func heal() {
        for host in hosts.indices {
            hosts[host].side = 0
            if !hosts[host].isUp { start(host) }
        }
    }

    // MARK: - Life

    mutating func open(on host: Int, deadline: UInt64) {
        hosts[host].sequence += 1
        let request = Dot(origin: Origin(node: nodes[host], epoch: 1), sequence: hosts[host].sequence)
        opened.append(request)
        let note = RequestNote(.opened, instance: hosts[host].keeper.instance, deadline: deadline, replicas: 3)
        write(note, after: request, on: host)
    }

    mutating func write(_ note: RequestNote, after request: Dot? = nil, on host: Int) {
        hosts[host].sequence += 1
        let operation = Operation(
            dot: Dot(origin: Origin(node: nodes[host], epoch: 1), sequence: hosts[host].sequence), kind: .request,
            timestamp: hosts[host].clock.tick(milliseconds: wall), stream: RequestNote.stream(ofDay: 0),
            dependencies: request.map { [$0] } ?? [], body: note.encoded)
        give([operation], to: host)
    }

    mutating func give(_ operations: [Operation], to host: Int) {
        let fresh = operations.filter { hosts[host].known.insert($0.dot).inserted }
        guard !fresh.isEmpty else { return }
        for operation in fresh { _ = hosts[host].clock.observe(operation.timestamp, milliseconds: wall) }
        hosts[host].log += fresh
        perform(hosts[host].keeper.noted(fresh, at: now, wall: wall), on: host)
    }

    mutating func perform(_ effects: [RequestKeeper.Effect], on host: Int) {
        for effect in effects {
            let instance = hosts[host].keeper.instance
            switch effect {
            case .run(let request, let attempt):
                runsBegun += 1
                hosts[host].runs[request] = tick + Int.random(in: 1...40, using: &generator)
                write(RequestNote(.began, of: request, instance: instance, attempt: attempt), on: host)
            case .stop(let request, let why): hosts[host].stops[request] = why
            case .take(let request, let attempt):
                // Sometimes the disk refuses.
                guard Int.random(in: 0..<10, using: &generator) > 0 else { continue }
                write(RequestNote(.taken, of: request, instance: instance, attempt: attempt), on: host)
            case .end(let request, _): write(RequestNote(.ended, of: request, instance: instance), on: host)
            }
        }
    }

    mutating func step() {
        tick += 1
        for host in hosts.indices where hosts[host].isUp {
            let living = Set(nodes.indices.filter { sees(host, $0) }.map { nodes[$0] })
            perform(hosts[host].keeper.members(living, at: now, wall: wall), on: host)
            perform(hosts[host].keeper.ticked(at: now, wall: wall), on: host)
            for (request, why) in hosts[host].stops {
                hosts[host].runs[request] = nil
                if why != .superseded {
                    write(RequestNote(.ended, of: request, instance: hosts[host].keeper.instance), on: host)
                }
                hosts[host].keeper.ranOut(request)
            }
            hosts[host].stops = [:]
            for request in hosts[host].runs.filter({ $0.value <= tick }).keys.sorted() {
                hosts[host].runs[request] = nil
                write(RequestNote(.ended, of: request, instance: hosts[host].keeper.instance), on: host)
                hosts[host].keeper.ranOut(request)
            }
        }
        for from in hosts.indices {
            for to in hosts.indices where from != to && sees(from, to) {
                guard Int.random(in: 0..<3, using: &generator) > 0 else { continue }
                give(hosts[from].log, to: to)
            }
        }
    }
}
