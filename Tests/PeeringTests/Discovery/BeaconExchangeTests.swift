import Core
import Cryptography
import Testing

@testable import Peering

@Suite struct BeaconExchangeTests {
    private let clock: UInt64 = 1_000_000

    private func receive(
        _ beacon: Beacon, key: SymmetricKey = TestSwarm.key, from source: ScopedAddress = .neighbour,
        at now: Duration = .seconds(1), in exchange: inout BeaconExchange
    ) -> BeaconExchange.Outcome {
        exchange.receive(
            beacon.encoded(key: key), from: source, as: TestSwarm.announcement(1), at: now, clock: clock,
            macKey: TestSwarm.macKey)
    }

    private func sighting(_ outcome: BeaconExchange.Outcome) -> Sighting? {
        if case .seen(let sighting, _) = outcome { sighting } else { nil }
    }

    private func isAnswered(_ outcome: BeaconExchange.Outcome) -> Bool {
        if case .seen(_, true) = outcome { true } else { false }
    }

    @Test func `A new instance is sighted and answered once a minute at most`() {
        var exchange = BeaconExchange(at: .zero)
        let first = receive(TestSwarm.beacon(2), in: &exchange)
        #expect(isAnswered(first))
        #expect(sighting(first)?.addresses == [NetworkAddress(host: "192.168.1.9", port: 8080)])
        #expect(sighting(first)?.node == TestSwarm.node(2))
        let second = receive(TestSwarm.beacon(2), at: .seconds(2), in: &exchange)
        #expect(sighting(second) != nil && !isAnswered(second))
        #expect(isAnswered(receive(TestSwarm.beacon(2), at: .seconds(90), in: &exchange)))
    }

    @Test func `An answer is not answered, so that two hosts do not answer each other for ever`() {
        var exchange = BeaconExchange(at: .zero)
        let outcome = receive(TestSwarm.beacon(2, kind: .answer), in: &exchange)
        #expect(sighting(outcome) != nil && !isAnswered(outcome))
    }

    @Test func `What this host sent itself is dropped; another instance with its identity is not`() {
        var exchange = BeaconExchange(at: .zero)
        #expect(receive(TestSwarm.beacon(1), in: &exchange) == .own)
        var clone = TestSwarm.beacon(1)
        clone.instance = TestSwarm.instance(99)
        #expect(sighting(receive(clone, in: &exchange))?.instance == TestSwarm.instance(99))
    }

    @Test func `Who claims this swarm without its key is refused`() {
        var exchange = BeaconExchange(at: .zero)
        #expect(receive(TestSwarm.beacon(2), key: TestSwarm.otherKey, in: &exchange) == .refused)
    }

    @Test func `A host of another swarm is sighted with its tag, never answered, and cannot say goodbye for anyone`() {
        var exchange = BeaconExchange(at: .zero)
        let outcome = receive(
            TestSwarm.beacon(2, kind: .leaving, swarm: TestSwarm.otherID), key: TestSwarm.otherKey, in: &exchange)
        #expect(sighting(outcome)?.swarm == TestSwarm.otherID)
        #expect(sighting(outcome)?.isLeaving == false)
        #expect(!isAnswered(outcome))
    }

    @Test(arguments: [(UInt64(1_030_000), 30, true), (900_000_000, 899_000, false), (0, -1_000, false)])
    func `A wrong clock is told, not held against a host; only the answer is withheld`(
        clock: UInt64, seconds: Int, answered: Bool
    ) {
        var exchange = BeaconExchange(at: .zero)
        let outcome = receive(TestSwarm.beacon(2, clock: clock), in: &exchange)
        #expect(sighting(outcome)?.clockSkew == .seconds(seconds))
        #expect(isAnswered(outcome) == answered)
    }

    @Test func `Goodbyes of members count, and make them new again`() {
        var exchange = BeaconExchange(at: .zero)
        _ = receive(TestSwarm.beacon(2), in: &exchange)
        #expect(sighting(receive(TestSwarm.beacon(2, kind: .leaving), in: &exchange))?.isLeaving == true)
        #expect(isAnswered(receive(TestSwarm.beacon(2), at: .seconds(3), in: &exchange)))
    }

    @Test func `An open swarm is not heard from beyond the LAN`() {
        var exchange = BeaconExchange(at: .zero)
        let beacon = TestSwarm.beacon(2, security: .open)
        #expect(receive(beacon, from: ScopedAddress(known: [8, 8, 8, 8]), in: &exchange) == .refused)
        #expect(sighting(receive(beacon, in: &exchange)) != nil)
    }

    @Test func `Nobody on the LAN sends this host to its own loopback`() {
        var exchange = BeaconExchange(at: .zero)
        let loopback = ScopedAddress(known: [127, 0, 0, 1])
        let outcome = receive(TestSwarm.beacon(2, addresses: [loopback]), in: &exchange)
        #expect(sighting(outcome)?.addresses.map(\.host) == ["192.168.1.9"])
        let nowhere = receive(TestSwarm.beacon(3, atSource: false, addresses: [loopback]), in: &exchange)
        #expect(nowhere == .refused)
        #expect(
            sighting(receive(TestSwarm.beacon(4), from: loopback, in: &exchange))?.addresses.map(\.host) == [
                "127.0.0.1"
            ])
    }

    @Test func `A flood costs a bounded number of answers and sightings`() {
        var exchange = BeaconExchange(at: .zero)
        var answers = 0
        var sightings = 0
        for number in 0..<20_000 {
            let source = ScopedAddress(known: [10, 0, UInt8(number / 256 % 256), UInt8(number % 256)])
            let outcome = receive(TestSwarm.beacon(UInt64(100 + number)), from: source, in: &exchange)
            if isAnswered(outcome) { answers += 1 }
            if sighting(outcome) != nil { sightings += 1 }
        }
        #expect(answers == 100)
        #expect(sightings == 1_000)
    }

    @Test func `The doctor's own datagrams are nobody's beacons`() {
        var exchange = BeaconExchange(at: .zero)
        let outcome = exchange.receive(
            MulticastTrial.mark + [UInt8](repeating: 1, count: 12), from: .neighbour, as: TestSwarm.announcement(1),
            at: .seconds(1), clock: clock, macKey: TestSwarm.macKey)
        #expect(outcome == .own)
    }
}
