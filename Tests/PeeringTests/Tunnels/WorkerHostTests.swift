import Core
import Testing

@testable import Peering

@Suite struct WorkerHostTests {
    private static func host(
        _ number: UInt64, _ name: String, _ state: HostReport.State = .alive, after: Duration? = nil
    ) -> HostReport {
        HostReport(
            id: NodeID(Bytes16(high: 0, low: number)), isSelf: number == 0, name: name,
            address: NetworkAddress(host: "10.0.0.\(number)", port: 8_080), state: state, lastSeen: 0, roundTrip: after)
    }

    private let hosts = [
        host(0, "me"), host(1, "a", after: .milliseconds(9)), host(2, "b", after: .milliseconds(1)),
        host(3, "c", .dead),
        host(4, "twin"), host(5, "twin"), host(6, "b", .foreign),
    ]

    @Test("Names are found in their order, by name or by id")
    func named() throws {
        let id = NodeID(Bytes16(high: 0, low: 4)).description
        let found = try WorkerHost.candidates(for: .named(["b", "a", id]), among: hosts)
        #expect(found.map(\.address.host) == ["10.0.0.2", "10.0.0.1", "10.0.0.4"])
    }

    @Test(
        "A name that leads to no worker says why",
        arguments: [("me", "no host is called"), ("x", "no host is called"), ("c", "is dead"), ("twin", "two hosts")])
    func missing(name: String, why: String) {
        let error = #expect(throws: RuntimeError.self) {
            try WorkerHost.candidates(for: .named(["a", name]), among: hosts)
        }
        #expect(error?.message.contains(why) == true && error?.message.contains(name) == true)
    }

    @Test("Of any hosts those alive are asked, the nearest first")
    func any() throws {
        let found = try WorkerHost.candidates(for: .any(2), among: hosts)
        #expect(found.map(\.name) == ["b", "a", "twin", "twin"])
        #expect(throws: RuntimeError.self) { try WorkerHost.candidates(for: .any(5), among: hosts) }
    }
}
