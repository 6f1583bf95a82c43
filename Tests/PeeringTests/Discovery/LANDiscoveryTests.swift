import Core
import Cryptography
import Testing

@testable import Peering

/// Real sockets. The group's port is the tests' own, so that daemons on this machine do not mix in.
@Suite(.serialized, .timeLimit(.minutes(1))) struct LANDiscoveryTests {
    private static let port = 47_354

    private func discovery(
        mdns: Bool = false, multicast: Bool = true, seeds: [NetworkAddress] = [], swarm: SwarmID = TestSwarm.id
    ) -> LANDiscovery {
        let key = swarm == TestSwarm.id ? TestSwarm.key : TestSwarm.otherKey
        return LANDiscovery(
            DiscoveryConfiguration(mdns: mdns, multicast: multicast, multicastPort: Self.port, seeds: seeds),
            macKey: { $0 == swarm ? key : nil })
    }

    /// The first sighting that `matches`, of a discovery that runs meanwhile together with the others.
    private func first(
        of one: LANDiscovery, among hosts: [(LANDiscovery, Announcement)],
        where matches: @escaping @Sendable (Sighting) -> Bool
    ) async -> Sighting? {
        await withTaskGroup(of: Sighting?.self) { group in
            for (discovery, announcement) in hosts {
                group.addTask {
                    await discovery.run(announcement)
                    return nil
                }
            }
            group.addTask {
                for await sighting in one.sightings where matches(sighting) { return sighting }
                return nil
            }
            let sighting = await group.next() ?? nil
            group.cancelAll()
            return sighting
        }
    }

    @Test func `Three instances on one machine hear one another, over loopback too`() async {
        let hosts = (1...3).map { (discovery(), TestSwarm.announcement($0, port: 8_000 + Int($0))) }
        let nodes = Set(hosts.map(\.1.node))
        let heard = await withTaskGroup(of: (NodeID, Set<NodeID>)?.self) { group in
            for (discovery, own) in hosts {
                group.addTask {
                    await discovery.run(own)
                    return nil
                }
                group.addTask {
                    var seen: Set<NodeID> = []
                    for await sighting in discovery.sightings where sighting.addresses.first?.host == "127.0.0.1" {
                        if let node = sighting.node { seen.insert(node) }
                        if seen.count >= nodes.count - 1 { return (own.node, seen) }
                    }
                    return (own.node, seen)
                }
            }
            var heard: [NodeID: Set<NodeID>] = [:]
            while heard.count < nodes.count, case .some(.some(let (node, seen))) = await group.next() {
                heard[node] = seen
            }
            group.cancelAll()
            return heard
        }
        for node in nodes { #expect(heard[node] == nodes.subtracting([node])) }
    }

    @Test func `A server on loopback is told of there alone`() async throws {
        let (here, there) = (discovery(), discovery())
        let hosts = [
            (here, TestSwarm.announcement(1, host: "127.0.0.1")), (there, TestSwarm.announcement(2, host: "127.0.0.1")),
        ]
        let sighting = try #require(await first(of: here, among: hosts) { _ in true })
        #expect(sighting.addresses == [NetworkAddress(host: "127.0.0.1", port: 8080)])
    }

    @Test func `A host of another swarm is seen with its tag`() async throws {
        let (here, there) = (discovery(), discovery(swarm: TestSwarm.otherID))
        let hosts = [
            (here, TestSwarm.announcement(1)), (there, TestSwarm.announcement(2, swarm: TestSwarm.otherID)),
        ]
        let sighting = try #require(await first(of: here, among: hosts) { _ in true })
        #expect(sighting.swarm == TestSwarm.otherID)
        #expect(sighting.node == TestSwarm.node(2))
    }

    @Test func `A host that ends says goodbye`() async throws {
        let (here, there) = (discovery(), discovery())
        let sighting = await withTaskGroup(of: Sighting?.self) { group in
            group.addTask {
                await here.run(TestSwarm.announcement(1))
                return nil
            }
            let leaving = Task { await there.run(TestSwarm.announcement(2)) }
            group.addTask {
                for await sighting in here.sightings {
                    if sighting.isLeaving { return sighting }
                    leaving.cancel()
                }
                return nil
            }
            let sighting = await group.next() ?? nil
            group.cancelAll()
            leaving.cancel()
            return sighting
        }
        #expect(sighting?.node == TestSwarm.node(2))
    }

    @Test func `A changed announcement is sent at once`() async throws {
        let (here, there) = (discovery(), discovery())
        var changed = TestSwarm.announcement(2)
        changed.version = "0.4.0"
        let news = changed
        let sighting = await withTaskGroup(of: Sighting?.self) { group in
            group.addTask {
                await here.run(TestSwarm.announcement(1))
                return nil
            }
            group.addTask {
                await there.run(TestSwarm.announcement(2))
                return nil
            }
            group.addTask {
                for await sighting in here.sightings {
                    if sighting.version == "0.4.0" { return sighting }
                    await there.announce(news)
                }
                return nil
            }
            let sighting = await group.next() ?? nil
            group.cancelAll()
            return sighting
        }
        #expect(sighting != nil)
    }

    @Test func `A seed is sighted, by name and by address, without any other channel`() async throws {
        for host in ["localhost", "127.0.0.1"] {
            let one = discovery(multicast: false, seeds: [NetworkAddress(host: host, port: 8_081)])
            let sighting = await first(of: one, among: [(one, TestSwarm.announcement(1))]) {
                $0.addresses == [NetworkAddress(host: "127.0.0.1", port: 8_081)]
            }
            #expect(sighting?.channel == .seed)
            #expect(sighting?.node == nil)
        }
    }

    @Test func `A name without an address is a state with a sentence`() async throws {
        let one = discovery(multicast: false, seeds: [NetworkAddress(host: "nobody.invalid", port: 8_081)])
        let detail = await withTaskGroup(of: String?.self) { group in
            group.addTask {
                await one.run(TestSwarm.announcement(1))
                return nil
            }
            group.addTask {
                for _ in 0..<1_500 {
                    let status = await one.status().first { $0.channel == .seed }
                    if let status, status.refused > 0 { return status.detail }
                    // A status is asked for, not told: this is the asking.
                    try? await Task.sleep(for: .milliseconds(20))
                }
                return nil
            }
            let detail = await group.next() ?? nil
            group.cancelAll()
            return detail
        }
        #expect(detail?.contains("nobody.invalid") == true)
    }

    @Test func `Channels that are off say which setting does it`() async {
        let status = await discovery(multicast: false).status()
        #expect(status.map(\.channel) == [.mdns, .multicast, .seed])
        #expect(status.allSatisfy { $0.state == .off })
        #expect(status.map(\.detail) == ["mcp.mdns is off", "mcp.multicast is off", "mcp.seeds names no host"])
    }

    @Test func `A port that another program keeps for itself is a state, and comes back when it is free`() async throws
    {
        let holder = try DatagramSocket.sending(.ipv4)
        let port = try #require(holder.port)
        let one = LANDiscovery(
            DiscoveryConfiguration(mdns: false, multicastPort: port), macKey: TestSwarm.macKey)
        let status = await withTaskGroup(of: DiscoveryStatus?.self) { group in
            group.addTask {
                await one.run(TestSwarm.announcement(1))
                return nil
            }
            group.addTask {
                for _ in 0..<3_000 {
                    let status = await one.status().first { $0.channel == .multicast }
                    if let status, status.detail != "not started" { return status }
                    // A status is asked for, not told: this is the asking.
                    try? await Task.sleep(for: .milliseconds(10))
                }
                return nil
            }
            let status = await group.next() ?? nil
            group.cancelAll()
            return status
        }
        withExtendedLifetime(holder) {}
        // IPv6 may go on alone; the failure is named in any case.
        #expect(status?.detail.contains("port \(port)") == true)
        #expect(status?.detail.contains("in use") == true)
    }
}
