import Core
import Swarm
import Testing

@Suite struct SnapshotPaceTests {
    private static func node(_ number: UInt64) -> NodeID { NodeID(Bytes16(high: 0, low: number)) }

    /// How many pieces each of `peers` gets in ten seconds, all asking as fast as they are served.
    private static func served(_ peers: Int, _ pace: inout SnapshotPace) -> [Int] {
        var next = [Duration](repeating: .zero, count: peers)
        var served = [Int](repeating: 0, count: peers)
        while let peer = next.indices.min(by: { next[$0] < next[$1] }), next[peer] < .seconds(10) {
            next[peer] += pace.wait(for: 1_000, to: node(UInt64(peer)), at: next[peer]) + .microseconds(1)
            served[peer] += 1
        }
        return served
    }

    @Test("One peer gets its rate, several share the whole alike", arguments: [1, 2, 4, 10])
    func shares(peers: Int) {
        var pace = SnapshotPace(SnapshotPace.Rates(perPeer: 10_000, total: 20_000))
        let served = Self.served(peers, &pace)
        let due = Double(min(10, 20 / peers) * 10)
        for count in served { #expect(abs(Double(count) - due) <= max(3, due / 10), "\(served)") }
    }

    @Test("Who asks seldom does not wait, and nothing is remembered of a pause")
    func idle() {
        var pace = SnapshotPace(SnapshotPace.Rates(perPeer: 10_000, total: 20_000))
        for second in 0..<100 {
            #expect(pace.wait(for: 5_000, to: Self.node(1), at: .seconds(second)) == .zero)
        }
        // After the pause it is no faster than before.
        _ = pace.wait(for: 10_000, to: Self.node(1), at: .seconds(1_000))
        #expect(pace.wait(for: 1, to: Self.node(1), at: .seconds(1_000)) > .milliseconds(900))
    }

    @Test("However many ask, it keeps few of them")
    func crowd() {
        var pace = SnapshotPace(SnapshotPace.Rates(perPeer: 1, total: 1_000_000_000))
        for number in 0..<UInt64(Limits.knownHosts + 100) {
            #expect(pace.wait(for: 100, to: Self.node(number), at: .zero) < .seconds(1))
        }
    }
}
