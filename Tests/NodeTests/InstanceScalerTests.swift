import Core
import Swarm
import Testing

@testable import Node

@Suite struct InstanceScalerTests {
    private static let start = ContinuousClock().now
    private static func at(_ seconds: Double) -> InstanceScaler.Instant { start + .seconds(seconds) }

    private static func scaler(least: Int = 1, most: Int = 3) -> InstanceScaler {
        var scaler = InstanceScaler(.init(least: least, most: most, wait: .seconds(1), idle: .seconds(10)))
        let begun = scaler.began(at: start)
        #expect(begun == (1...least).map { .start($0) })
        for number in 1...least { _ = scaler.started(number, slots: 1, at: start) }
        return scaler
    }

    @Test("A request that waits too long starts another instance, one at a time, and that takes it")
    func grows() {
        var scaler = Self.scaler()
        #expect(scaler.requested(1, at: Self.at(0)) == [.admit(1, 1)])
        #expect(scaler.requested(2, at: Self.at(0)) == [])
        #expect(scaler.requested(3, at: Self.at(0)) == [])
        #expect(scaler.ticked(at: Self.at(0.9)) == [])
        #expect(scaler.ticked(at: Self.at(1)) == [.start(2)])
        #expect(scaler.ticked(at: Self.at(5)) == [])
        #expect(scaler.started(2, slots: 1, at: Self.at(6)) == [.admit(2, 2), .start(3)])
        #expect(scaler.started(3, slots: 1, at: Self.at(7)) == [.admit(3, 3)])
        #expect(scaler.requested(4, at: Self.at(7)) == [])
        #expect(scaler.ticked(at: Self.at(60)) == [], "no more than the most")
    }

    @Test("What waits a short while starts nothing")
    func patience() {
        var scaler = Self.scaler()
        for round in 0..<20 {
            let now = Double(round)
            _ = scaler.requested(UInt64(2 * round), at: Self.at(now))
            _ = scaler.requested(UInt64(2 * round + 1), at: Self.at(now))
            _ = scaler.released(1, at: Self.at(now + 0.4))
            _ = scaler.released(1, at: Self.at(now + 0.8))
        }
        #expect(scaler.count == 1)
    }

    @Test("After a quiet while one goes, then the next, and the least stay")
    func shrinks() {
        var scaler = Self.scaler(least: 1, most: 3)
        for number in 1...3 { _ = scaler.requested(UInt64(number), at: Self.at(0)) }
        _ = scaler.ticked(at: Self.at(1))
        _ = scaler.started(2, slots: 1, at: Self.at(1))
        _ = scaler.started(3, slots: 1, at: Self.at(1))
        #expect(scaler.ready == 3)
        for number in 1...3 { #expect(scaler.released(number, at: Self.at(2)) == []) }
        #expect(scaler.ticked(at: Self.at(11)) == [])
        #expect(scaler.requested(9, at: Self.at(11)) == [.admit(9, 1)], "one answer is no reason to keep three")
        #expect(scaler.ticked(at: Self.at(13)) == [.stop(3)])
        #expect(scaler.released(1, at: Self.at(14)) == [])
        #expect(scaler.ticked(at: Self.at(22)) == [])
        #expect(scaler.ticked(at: Self.at(23)) == [.stop(2)])
        #expect(scaler.ticked(at: Self.at(99)) == [])
        #expect(scaler.count == 1)
    }

    @Test("Load that comes back within the while keeps them")
    func hysteresis() {
        var scaler = Self.scaler(least: 1, most: 2)
        _ = scaler.requested(1, at: Self.at(0))
        _ = scaler.requested(2, at: Self.at(0))
        _ = scaler.ticked(at: Self.at(1))
        _ = scaler.started(2, slots: 1, at: Self.at(1))
        for round in 1..<12 {
            let now = Double(round) * 8
            _ = scaler.released(1, at: Self.at(now))
            _ = scaler.released(2, at: Self.at(now))
            _ = scaler.ticked(at: Self.at(now + 1))
            _ = scaler.requested(UInt64(2 * round + 1), at: Self.at(now + 2))
            _ = scaler.requested(UInt64(2 * round + 2), at: Self.at(now + 2))
            #expect(scaler.ready == 2)
        }
    }

    @Test("An instance that cannot be started is tried again later, and others answer")
    func failing() {
        var scaler = Self.scaler()
        _ = scaler.requested(1, at: Self.at(0))
        _ = scaler.requested(2, at: Self.at(0))
        #expect(scaler.ticked(at: Self.at(1)) == [.start(2)])
        #expect(scaler.startFailed(2, at: Self.at(2)) == [.stop(2)])
        #expect(scaler.ticked(at: Self.at(3)) == [])
        #expect(scaler.released(1, at: Self.at(4)) == [.admit(2, 1)])
        var alone = InstanceScaler(.init())
        _ = alone.began(at: Self.start)
        _ = alone.requested(1, at: Self.start)
        #expect(alone.startFailed(1, at: Self.at(1)) == [.stop(1)])
        #expect(alone.ticked(at: Self.at(2)) == [])
        #expect(alone.ticked(at: Self.at(31)) == [.start(2)])
        #expect(alone.started(2, slots: 2, at: Self.at(32)) == [.admit(1, 2)])
    }

    @Test("Those that gave up are not admitted, and the end turns the others away")
    func ends() {
        var scaler = Self.scaler()
        for number in 1...3 { _ = scaler.requested(UInt64(number), at: Self.at(0)) }
        #expect(scaler.abandoned(2, at: Self.at(0)) == [])
        #expect(scaler.released(1, at: Self.at(0)) == [.admit(3, 1)])
        _ = scaler.requested(4, at: Self.at(0))
        #expect(scaler.stopped() == [.refuse(4, .unavailable), .stop(1)])
        #expect(scaler.requested(5, at: Self.at(0)) == [.refuse(5, .unavailable)])
    }

    /// No request is lost or admitted twice, no slot is used twice, and the bounds hold, whatever happens.
    @Test("Whatever happens the bounds hold", arguments: 0..<60)
    func property(seed: UInt64) {
        var generator = SplitMix64(seed: seed)
        var scaler = Self.scaler(least: 1, most: 4)
        var now = 0.0
        var open: [InstanceScaler.Request: InstanceScaler.Number] = [:]
        var queued: Set<InstanceScaler.Request> = []
        var starting: [InstanceScaler.Number] = []
        var stopped: Set<InstanceScaler.Number> = []
        var last: InstanceScaler.Request = 0
        func take(_ actions: [InstanceScaler.Action]) {
            for action in actions {
                switch action {
                case .admit(let request, let number):
                    #expect(queued.remove(request) != nil && !stopped.contains(number))
                    open[request] = number
                case .start(let number): starting.append(number)
                case .stop(let number):
                    #expect(!open.values.contains(number))
                    stopped.insert(number)
                    starting.removeAll { $0 == number }
                case .refuse: Issue.record("refused")
                }
            }
        }
        for _ in 0..<400 {
            now += Double.random(in: 0...3, using: &generator)
            switch Int.random(in: 0..<6, using: &generator) {
            case 0, 1:
                last += 1
                queued.insert(last)
                take(scaler.requested(last, at: Self.at(now)))
            case 2:
                if let one = open.sorted(by: { $0.key < $1.key }).randomElement(using: &generator) {
                    open[one.key] = nil
                    take(scaler.released(one.value, at: Self.at(now)))
                }
            case 3:
                if let number = starting.popLast() {
                    take(
                        Bool.random(using: &generator)
                            ? scaler.started(number, slots: 2, at: Self.at(now))
                            : scaler.startFailed(number, at: Self.at(now)))
                }
            case 4:
                if let request = queued.sorted().randomElement(using: &generator) {
                    queued.remove(request)
                    take(scaler.abandoned(request, at: Self.at(now)))
                }
            default: take(scaler.ticked(at: Self.at(now)))
            }
            #expect(scaler.count <= 4 && scaler.running == open.count && scaler.queued == queued.count)
        }
    }
}
