import Core
import Cryptography
import Testing

@testable import Peering

@Suite struct BeaconTests {
    @Test(arguments: [
        TestSwarm.beacon(1),
        TestSwarm.beacon(2, kind: .leaving, security: .open, atSource: false, addresses: [.neighbour]),
        TestSwarm.beacon(
            3, kind: .answer, clock: .max,
            addresses: [.neighbour, ScopedAddress(known: [0xFD] + [UInt8](repeating: 0, count: 14) + [1])]),
    ])
    func `What is written is read back, and is authentic under its key alone`(beacon: Beacon) throws {
        let datagram = beacon.encoded(key: TestSwarm.key)
        #expect(datagram.count <= 200)
        #expect(try Beacon(decoding: datagram) == beacon)
        #expect(Beacon.isAuthentic(datagram, key: TestSwarm.key))
        #expect(!Beacon.isAuthentic(datagram, key: TestSwarm.otherKey))
    }

    @Test func `The largest beacon fits the largest datagram`() throws {
        var beacon = TestSwarm.beacon(1)
        beacon.version = String(repeating: "9", count: Beacon.versionBytes)
        beacon.addresses = (0..<4).map { ScopedAddress(known: [0xFD] + [UInt8](repeating: $0, count: 15)) }
        let datagram = beacon.encoded(key: TestSwarm.key)
        #expect(datagram.count <= Beacon.largest)
        #expect(try Beacon(decoding: datagram) == beacon)
    }

    @Test func `A changed bit anywhere is noticed`() {
        let datagram = TestSwarm.beacon(1, addresses: [.neighbour]).encoded(key: TestSwarm.key)
        for position in datagram.indices {
            for bit in 0..<8 {
                var changed = datagram
                changed[position] ^= 1 << UInt8(bit)
                #expect(!Beacon.isAuthentic(changed, key: TestSwarm.key), "byte \(position), bit \(bit)")
            }
        }
    }

    /// Every datagram must end in a value or an error; what is read must be what would be written.
    @Test func `Mutated datagrams neither trap nor read as something else`() throws {
        var random = Seeded(1)
        let originals = [
            TestSwarm.beacon(1).encoded(key: TestSwarm.key),
            TestSwarm.beacon(2, addresses: [.neighbour, .neighbour]).encoded(key: TestSwarm.key),
        ]
        var read = 0
        for round in 0..<10_000 {
            var bytes = originals[round % originals.count]
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                switch Int.random(in: 0..<4, using: &random) {
                case 0:
                    bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
                case 1:
                    bytes.insert(
                        UInt8.random(in: 0...255, using: &random), at: Int.random(in: 0...bytes.count, using: &random))
                case 2 where bytes.count > 1: bytes.remove(at: Int.random(in: 0..<bytes.count, using: &random))
                default: bytes = Array(bytes.prefix(max(1, Int.random(in: 0...bytes.count, using: &random))))
                }
            }
            guard let beacon = try? Beacon(decoding: bytes) else { continue }
            read += 1
            let again = beacon.encoded(key: TestSwarm.key)
            #expect(Array(again.dropLast(32)) == Array(bytes.dropLast(32)))
        }
        #expect(read > 100)
    }

    @Test func `Random bytes are no beacon`() {
        var random = Seeded(2)
        for _ in 0..<5_000 {
            let count = Int.random(in: 0...600, using: &random)
            let bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
            let isRead = (try? Beacon(decoding: bytes)) != nil
            let isReadWithHead = (try? Beacon(decoding: Array("IGRB".utf8) + [1, 1, 0] + bytes)) != nil
            if isRead || isReadWithHead { Issue.record("\(bytes.hex) was read") }
        }
    }
}

@Suite struct BeaconScheduleTests {
    @Test func `Five beacons in four seconds, then one every ten, give or take two`() {
        var random = Seeded(3)
        var schedule = BeaconSchedule(at: .seconds(100))
        var times: [Duration] = []
        for _ in 0..<200 {
            times.append(schedule.next - .seconds(100))
            schedule.advance(at: schedule.next, using: &random)
        }
        #expect(Array(times.prefix(5)) == [.zero, .milliseconds(300), .seconds(1), .seconds(2), .seconds(4)])
        let gaps = zip(times.dropFirst(4), times.dropFirst(5)).map { $1 - $0 }
        #expect(gaps.allSatisfy { (.seconds(8) ... .seconds(12)).contains($0) })
        #expect(Set(gaps).count > 150)
    }

    @Test func `A late start does not send in a heap what was missed`() {
        var random = Seeded(4)
        var schedule = BeaconSchedule(at: .zero)
        schedule.advance(at: .milliseconds(2_500), using: &random)
        #expect(schedule.next == .seconds(4))
        schedule.advance(at: .seconds(60), using: &random)
        #expect(schedule.next > .seconds(67))
        schedule.restart(at: .seconds(61))
        #expect(schedule.next == .seconds(61))
    }

    @Test func `Seeds are asked for less and less often, at least twice a minute`() {
        var random = Seeded(5)
        var schedule = SeedSchedule()
        let waits = (0..<20).map { _ in schedule.next(using: &random) }
        #expect(waits[0] <= .milliseconds(600))
        #expect(waits.allSatisfy { $0 <= .seconds(36) })
        #expect(waits.suffix(10).allSatisfy { $0 >= .seconds(24) })
    }
}

@Suite struct DatagramLimiterTests {
    @Test func `A loud source is cut off, and a quiet one is not`() {
        var limiter = DatagramLimiter(at: .zero)
        let loud = ScopedAddress(known: [10, 0, 0, 1])
        var admitted = 0
        for millisecond in 0..<10_000 {
            for _ in 0..<10 where limiter.admits(loud, at: .milliseconds(millisecond)) { admitted += 1 }
            if millisecond.isMultiple(of: 1_000) {
                let isQuietOneAdmitted = limiter.admits(.neighbour, at: .milliseconds(millisecond))
                #expect(isQuietOneAdmitted)
            }
        }
        #expect((590...610).contains(admitted))
    }

    @Test func `Forged sources are bounded by the total, in work and in memory`() {
        var limiter = DatagramLimiter(at: .zero)
        var random = Seeded(6)
        var admitted = 0
        for millisecond in 0..<2_000 {
            for _ in 0..<20 {
                let source = ScopedAddress(known: (0..<4).map { _ in UInt8.random(in: 0...255, using: &random) })
                if limiter.admits(source, at: .milliseconds(millisecond)) { admitted += 1 }
            }
        }
        #expect((1_900...2_010).contains(admitted))
    }

    @Test func `Time that runs backwards gives nothing and takes nothing`() {
        var bucket = TokenBucket(rate: 1, burst: 2, at: .seconds(10))
        let taken = [10, 1, 2, 11, 11].map { bucket.take(at: .seconds($0)) }
        #expect(taken == [true, true, false, true, false])
    }
}
