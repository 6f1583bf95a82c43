import Core
import Swarm
import Testing

/// A few hosts that write into two conversations and exchange what they wrote over a network that loses, repeats,
/// delays and reorders; hosts crash, and disks refuse commits. After every step the invariants I9, I10 and I11 of
/// swarm.md §13 are checked.
struct LogSimulation {
    private struct Host {
        var log: OperationLog
        /// What is on its disk, by origin.
        var stored: [Origin: [Operation]] = [:]
        var states: [StreamID: ConversationState] = [:]
        var clockOffset: UInt64 = 0

        func since(_ origin: Origin, _ sequence: UInt64) -> [Operation] {
            Array((stored[origin] ?? []).dropFirst(Int(clamping: sequence)).prefix(40))
        }
    }

    private enum Message {
        case operations([Operation])
        case vector(VersionVector)
        case pull(Origin, after: UInt64)
    }

    private struct Envelope {
        var from: Int
        var to: Int
        var message: Message
    }

    private static let streams = [StreamID(Bytes16(high: 1, low: 1)), StreamID(Bytes16(high: 1, low: 2))]

    let seed: UInt64
    private var random: Seeded
    private var hosts: [Host]
    private var network: [Envelope] = []
    private var contents: [Dot: [UInt8]] = [:]
    private var now: UInt64 = 1_700_000_000_000
    private(set) var trace: UInt64 = 0xCBF2_9CE4_8422_2325
    /// In thousandths; drawn for each seed, so that some networks are good and some are bad.
    private let loss: Int
    private let repetition: Int

    init(seed: UInt64) {
        self.seed = seed
        var random = Seeded(seed)
        loss = [0, 50, 300][random.below(3)]
        repetition = [0, 100, 400][random.below(3)]
        hosts = (0..<3 + random.below(3)).map { Host(log: Fixture.log(UInt64($0 + 1))) }
        for index in hosts.indices { hosts[index].clockOffset = UInt64(random.below(120_000)) }
        self.random = random
    }

    var written: Int { contents.count }
    private var wall: UInt64 { now }

    mutating func run(steps: Int) throws {
        for _ in 0..<steps {
            now += UInt64(random.below(20))
            let host = random.below(hosts.count)
            switch random.below(100) {
            case 0..<30: try write(host)
            case 30..<75: try deliver()
            case 75..<92: send(.vector(hosts[host].log.applied), from: host, to: random.below(hosts.count))
            case 92..<95: refuse(host)
            case 95..<97: crash(host)
            default: if !network.isEmpty { network.remove(at: random.below(network.count)) }
            }
            check()
        }
    }

    /// The network recovers: all hosts must come to hold the same within a bounded number of exchanges.
    mutating func heal() throws {
        network = []
        for _ in 0..<60 where Set(hosts.map(\.log.applied)).count > 1 {
            for from in hosts.indices {
                for to in hosts.indices where to != from {
                    try receive(Envelope(from: from, to: to, message: .vector(hosts[from].log.applied)))
                }
            }
            var rounds = 0
            while !network.isEmpty, rounds < 100_000 {
                rounds += 1
                try receive(network.removeFirst())
            }
        }
        check()
        #expect(Set(hosts.map(\.log.applied)).count == 1, "seed \(seed): the hosts do not come to hold the same")
    }

    // MARK: - Events

    private mutating func write(_ host: Int) throws {
        let stream = Self.streams[random.below(2)]
        let state = hosts[host].states[stream] ?? ConversationState()
        let questions = state.dots.filter { state.turn($0)?.turn.message.role == .user }
        let draft: OperationLog.Draft
        if random.below(2) == 0, let question = random.pick(questions) {
            draft = Fixture.draft("a\(contents.count)", .assistantTurn, stream: stream, after: [question])
        } else {
            draft = Fixture.draft("q\(contents.count)", stream: stream, after: state.heads)
        }
        let actions = hosts[host].log.proposed([draft], milliseconds: wall + hosts[host].clockOffset)
        try perform(actions, host)
        for peer in hosts.indices where peer != host { send(.operations(actions.applied), from: host, to: peer) }
    }

    /// The disk refuses a commit: nobody ever saw what was numbered.
    private mutating func refuse(_ host: Int) {
        var log = hosts[host].log
        let before = log
        _ = log.proposed([Fixture.draft("lost")], milliseconds: wall)
        log = before
        log.abandonEpoch()
        hosts[host].log = log
        note(0xF0, UInt64(host))
    }

    /// The host starts again from its disk; what was on its way to it is lost with its connections.
    private mutating func crash(_ host: Int) {
        let log = hosts[host].log
        let heads = hosts[host].stored.keys.sorted().map(log.head(of:))
        let latest = hosts[host].stored.values.compactMap(\.last?.timestamp).max()
        var origin = log.origin
        if random.below(2) == 0 { origin = Origin(node: origin.node, epoch: origin.epoch + 1) }
        hosts[host].log = OperationLog(
            RecoveredLog(origin: origin, heads: heads, latestTimestamp: latest ?? HybridTimestamp(rawValue: 0)))
        network.removeAll { $0.to == host }
        note(0xC0, UInt64(host))
    }

    private mutating func deliver() throws {
        guard !network.isEmpty else { return }
        let index = random.below(network.count)
        let envelope = network[index]
        if random.below(1000) >= repetition { network.remove(at: index) }
        if random.below(1000) < loss { return }
        try receive(envelope)
    }

    private mutating func receive(_ envelope: Envelope) throws {
        let host = envelope.to
        note(0xD0, UInt64(envelope.from), UInt64(host))
        switch envelope.message {
        case .operations(let operations):
            try perform(
                hosts[host].log.received(operations, milliseconds: wall + hosts[host].clockOffset), host,
                peer: envelope.from)
        case .vector(let theirs):
            try perform(hosts[host].log.behind(theirs), host, peer: envelope.from)
        case .pull(let origin, let after):
            let answer = hosts[host].since(origin, after)
            if !answer.isEmpty { send(.operations(answer), from: host, to: envelope.from) }
        }
    }

    private mutating func send(_ message: Message, from: Int, to: Int) {
        guard from != to, network.count < 400 else { return }
        network.append(Envelope(from: from, to: to, message: message))
    }

    // MARK: - Actions and invariants

    private mutating func perform(_ actions: [OperationLog.Action], _ host: Int, peer: Int? = nil) throws {
        for action in actions {
            switch action {
            case .apply(let operations, let heads):
                for operation in operations { store(operation, host) }
                for head in heads {
                    #expect(
                        hosts[host].stored[head.origin]?.last?.dot.sequence == head.sequence, "seed \(seed): wrong head"
                    )
                }
                for (stream, own) in Dictionary(grouping: operations, by: \.stream) {
                    try hosts[host].states[stream, default: ConversationState()].apply(own)
                }
            case .pull(let origin, let after):
                send(.pull(origin, after: after), from: host, to: peer ?? random.below(hosts.count))
            case .clockAhead, .dropped: break
            }
        }
    }

    private mutating func store(_ operation: Operation, _ host: Int) {
        let bytes = OperationCodec.encode(operation)
        if let known = contents[operation.dot] {
            demand(known == bytes, "seed \(seed): I9, \(operation.dot) has two contents")
        }
        contents[operation.dot] = bytes
        let own = hosts[host].stored[operation.dot.origin] ?? []
        demand(operation.dot.sequence == UInt64(own.count) + 1, "seed \(seed): I10, \(operation.dot) leaves a gap")
        for dependency in operation.dependencies {
            let held = UInt64(hosts[host].stored[dependency.origin]?.count ?? 0)
            demand(dependency.sequence <= held, "seed \(seed): \(operation.dot) came before its cause")
        }
        hosts[host].stored[operation.dot.origin, default: []].append(operation)
        note(operation.timestamp.rawValue, operation.dot.sequence, UInt64(host))
    }

    private func check() {
        for (index, host) in hosts.enumerated() {
            for (origin, operations) in host.stored {
                demand(
                    host.log.applied[origin] == UInt64(operations.count),
                    "seed \(seed): I10, the vector is not what is held")
            }
            for other in hosts[..<index] where other.log.applied == host.log.applied {
                for stream in Self.streams {
                    let (left, right) = (host.states[stream], other.states[stream])
                    demand(left?.dots == right?.dots, "seed \(seed): I11, equal vectors, different order")
                    demand(left?.heads == right?.heads, "seed \(seed): I11, equal vectors, different heads")
                    demand(
                        left?.transcript.exchanges == right?.transcript.exchanges,
                        "seed \(seed): I11, equal vectors, different transcripts")
                }
                for origin in host.stored.keys {
                    demand(host.log.head(of: origin) == other.log.head(of: origin), "seed \(seed): different chains")
                }
            }
        }
    }

    /// Like an expectation, without its cost where it holds: these are checked millions of times.
    private func demand(
        _ holds: Bool, _ failure: @autoclosure () -> Comment, at place: SourceLocation = #_sourceLocation
    ) {
        if !holds { Issue.record(failure(), sourceLocation: place) }
    }

    private mutating func note(_ numbers: UInt64...) {
        for number in numbers { trace = (trace ^ number) &* 0x100_0000_01B3 }
    }
}

@Suite struct LogSimulationTests {
    @Test(
        "Hosts over a bad network agree, step by step and in the end; each seed runs alike twice",
        arguments: 0..<24 as Range<UInt64>)
    func agree(seed: UInt64) throws {
        var traces: Set<UInt64> = []
        for _ in 0..<2 {
            var world = LogSimulation(seed: seed)
            try world.run(steps: 300)
            try world.heal()
            #expect(world.written > 30)
            traces.insert(world.trace)
        }
        #expect(traces.count == 1, "seed \(seed): two runs differ")
    }
}
