import Core
import Swarm
import Testing

@Suite struct RequestKeeperTests {
    static let nodes = (0..<3).map { NodeID(Bytes16(high: 0, low: UInt64($0) &+ 1)) }
    static let stream = RequestNote.stream(ofDay: 1)

    static func instance(_ number: UInt64) -> InstanceID { InstanceID(Bytes16(high: 9, low: number)) }

    static func dot(_ node: Int, _ sequence: UInt64) -> Dot {
        Dot(origin: Origin(node: nodes[node], epoch: 1), sequence: sequence)
    }

    static func operation(_ note: RequestNote, by node: Int, _ sequence: UInt64, at time: UInt64) -> Operation {
        Operation(
            dot: dot(node, sequence), kind: .request, timestamp: HybridTimestamp(rawValue: time), stream: stream,
            dependencies: note.kind == .opened ? [dot(node, sequence - 1)] : [], body: note.encoded)
    }

    /// Opened by the first host.
    static func opened(deadline: UInt64 = 1_000_000, instance: UInt64 = 0) -> Operation {
        operation(
            RequestNote(.opened, instance: Self.instance(instance), deadline: deadline, replicas: 3), by: 0, 2, at: 10)
    }

    static let request = dot(0, 1)

    static func keeper(_ node: Int, instance: UInt64? = nil) -> RequestKeeper {
        RequestKeeper(node: nodes[node], instance: Self.instance(instance ?? UInt64(node)))
    }

    /// The host that follows when the first is gone.
    static var successor: Int {
        let ring = HashRing([nodes[1], nodes[2]])
        return ring.owners(of: RequestName.key(request), count: 1).first == nodes[1] ? 1 : 2
    }

    @Test("The host that took it runs it, once")
    func opener() {
        var keeper = Self.keeper(0)
        #expect(keeper.noted([Self.opened()], at: .zero, wall: 0) == [.run(Self.request, attempt: 1)])
        #expect(keeper.noted([Self.opened()], at: .seconds(9), wall: 0) == [])
        #expect(keeper.ticked(at: .seconds(20), wall: 0) == [])
        #expect(keeper.isRunning(Self.request))
    }

    @Test("Of the others the owner on the ring takes it over, and only once its host is gone")
    func takenOver() {
        for node in [1, 2] {
            var keeper = Self.keeper(node)
            _ = keeper.members(Set(Self.nodes), at: .zero, wall: 0)
            #expect(keeper.noted([Self.opened()], at: .zero, wall: 0) == [])
            #expect(keeper.ticked(at: .seconds(30), wall: 0) == [])
            _ = keeper.members([Self.nodes[1], Self.nodes[2]], at: .seconds(31), wall: 0)
            #expect(keeper.ticked(at: .seconds(31), wall: 0) == [])
            let effects = keeper.ticked(at: .seconds(32), wall: 0)
            #expect(effects == (node == Self.successor ? [.take(Self.request, attempt: 2)] : []))
            #expect(keeper.ticked(at: .seconds(33), wall: 0) == [])
        }
    }

    @Test("It runs once its note is written; the first host, should it be back, gives up")
    func superseded() {
        let taken = Self.operation(
            RequestNote(.taken, of: Self.request, instance: Self.instance(1), attempt: 2), by: 1, 1, at: 20)
        var second = Self.keeper(1)
        _ = second.noted([Self.opened()], at: .zero, wall: 0)
        #expect(second.noted([taken], at: .zero, wall: 0) == [.run(Self.request, attempt: 2)])
        var first = Self.keeper(0)
        _ = first.members(Set(Self.nodes), at: .zero, wall: 0)
        _ = first.noted([Self.opened()], at: .zero, wall: 0)
        #expect(first.noted([taken], at: .zero, wall: 0) == [.stop(Self.request, .superseded)])
        first.ranOut(Self.request)
        #expect(first.ticked(at: .seconds(9), wall: 0) == [])
    }

    @Test("A host that was started again reruns what was its own")
    func restarted() {
        var keeper = Self.keeper(0, instance: 7)
        #expect(keeper.noted([Self.opened()], at: .zero, wall: 0) == [])
        #expect(keeper.ticked(at: .seconds(4), wall: 0) == [.take(Self.request, attempt: 2)])
    }

    @Test("Of two results the first in hybrid order counts, whichever came first")
    func firstResult() throws {
        let ends = [(1, UInt64(40)), (2, 30)].map { node, time in
            Self.operation(
                RequestNote(.ended, of: Self.request, instance: Self.instance(0)), by: node, 5, at: time)
        }
        for order in [ends, ends.reversed()] {
            var keeper = Self.keeper(0)
            _ = keeper.noted([Self.opened()] + order, at: .zero, wall: 0)
            let record = try #require(keeper.record(Self.request))
            #expect(record.ended?.note == Self.dot(2, 5))
            #expect(record.discarded == [Self.dot(1, 5)])
        }
    }

    @Test("What is cancelled or late is stopped by whoever runs it, and ended without a run by whoever would have")
    func givenUp() {
        let cancel = Self.operation(
            RequestNote(.cancelled, of: Self.request, instance: Self.instance(1)), by: 1, 1, at: 20)
        var first = Self.keeper(0)
        _ = first.noted([Self.opened(deadline: 500)], at: .zero, wall: 0)
        #expect(first.ticked(at: .seconds(1), wall: 500) == [.stop(Self.request, .expired)])
        #expect(first.noted([cancel], at: .seconds(1), wall: 0) == [.stop(Self.request, .cancelled)])
        var again = Self.keeper(0, instance: 7)
        _ = again.noted([Self.opened(deadline: 500)], at: .zero, wall: 0)
        #expect(again.ticked(at: .seconds(9), wall: 501) == [.end(Self.request, .expired)])
    }

    @Test("A request that loses one host after another is given up")
    func abandoned() {
        var keeper = Self.keeper(0, instance: 7)
        let attempts = (2...5).map {
            Self.operation(
                RequestNote(.taken, of: Self.request, instance: Self.instance(6), attempt: $0), by: 0, UInt64($0) + 2,
                at: UInt64($0) + 20)
        }
        _ = keeper.noted([Self.opened()] + attempts, at: .zero, wall: 0)
        #expect(keeper.ticked(at: .seconds(4), wall: 0) == [.end(Self.request, .abandoned)])
    }

    @Test("Notes are read as they were written, and nothing else is")
    func bytes() throws {
        for kind in RequestNote.Kind.allCases {
            let note = RequestNote(
                kind, of: kind == .opened ? nil : Self.request, instance: Self.instance(3), attempt: 4,
                deadline: 1_800_000_000_000, replicas: 3)
            #expect(try RequestNote.decode(note.encoded) == note)
            #expect(throws: RuntimeError.self) { try RequestNote.decode(note.encoded + [0]) }
            #expect(throws: RuntimeError.self) { try RequestNote.decode(Array(note.encoded.prefix(9))) }
        }
        #expect(try RequestNote.decode([9, 9]) == nil)
        #expect(RequestName.request(RequestName.text(Self.request)) == Self.request)
        #expect(RequestName.request("request_1") == nil)
    }

    @Test("Garbage does no harm", arguments: 0..<50)
    func garbage(seed: UInt64) {
        var generator = SplitMix64(seed: seed)
        var keeper = Self.keeper(0)
        for sequence in 1...40 {
            let body =
                Bool.random(using: &generator)
                ? (0..<Int.random(in: 0...60, using: &generator)).map { _ in UInt8.random(in: 0...6, using: &generator)
                }
                : RequestNote(
                    RequestNote.Kind.allCases.randomElement(using: &generator) ?? .taken, of: Self.request,
                    instance: Self.instance(UInt64.random(in: 0...3, using: &generator)),
                    attempt: Int.random(in: -1...9, using: &generator),
                    deadline: UInt64.random(in: .min ... .max, using: &generator)
                ).encoded
            var operation = Self.operation(
                RequestNote(.ended, instance: Self.instance(0)), by: Int.random(in: 0...2, using: &generator),
                UInt64(sequence), at: UInt64.random(in: 0...99, using: &generator))
            operation.body = body
            if Bool.random(using: &generator) { operation.dependencies = [Self.request] }
            _ = keeper.noted([operation], at: .seconds(sequence), wall: UInt64(sequence))
            _ = keeper.ticked(at: .seconds(sequence), wall: UInt64(sequence))
        }
    }
}
