import Core
import Testing

@testable import Peering

/// What is wrong in each case, and which check must say so with which verdict; everything else stays `ok` or `skipped`.
@Suite struct PeerDoctorTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var check: String
        var verdict: DiagnosticCheck.Verdict
        /// Other checks that follow from the same fault.
        var also: Set<String> = []
        var change: @Sendable (inout DoctorSubject, inout LocalFacts) -> Void

        init(
            _ description: String, _ check: String, _ verdict: DiagnosticCheck.Verdict, also: Set<String> = [],
            _ change: @escaping @Sendable (inout DoctorSubject, inout LocalFacts) -> Void
        ) {
            testDescription = description
            self.check = check
            self.verdict = verdict
            self.also = also
            self.change = change
        }
    }

    private static let clock: UInt64 = 1_795_000_000_000

    private static func host(
        _ number: UInt64, _ state: HostReport.State = .alive, version: String = "0.3.0", whyNot: String? = nil,
        skew: Duration? = .zero
    ) -> HostReport {
        HostReport(
            id: TestSwarm.node(number), name: "host\(number)",
            address: NetworkAddress(host: "192.168.1.\(number)", port: 8080), state: state, whyNot: whyNot,
            lastSeen: clock, version: version, channels: [.mdns, .multicast], clockSkew: skew)
    }

    /// A machine on a LAN with one linked peer, all of it in order.
    private static var healthy: (DoctorSubject, LocalFacts) {
        var own = host(1)
        own.isSelf = true
        let subject = DoctorSubject(
            keySource: "the environment",
            daemon: DoctorSubject.Daemon(
                node: TestSwarm.node(1), swarm: TestSwarm.id, version: "0.3.0",
                channels: [
                    DiscoveryStatus(channel: .mdns, state: .on, detail: "registered"),
                    DiscoveryStatus(
                        channel: .multicast, state: .on, detail: "beacons on eth0", sent: 9, received: 7,
                        lastSent: clock - 4_000, lastReceived: clock - 3_000),
                    DiscoveryStatus(channel: .seed, state: .off, detail: "mcp.seeds names no host"),
                ], hosts: [own, host(2)], ask: { _, _ in nil }))
        var facts = LocalFacts()
        facts.clock = clock
        facts.interfaces = [
            interface("lo", .loopback, ["127.0.0.1/8"]),
            interface("eth0", .physical, ["192.168.1.1/24", "fe80::1%eth0/64"]),
        ]
        facts.multicast = MulticastFacts(trials: [
            .init(interface: "lo", isIPv6: false, isHeard: true, isLargeHeard: true),
            .init(interface: "eth0", isIPv6: false, isHeard: true, isLargeHeard: true),
            .init(interface: "eth0", isIPv6: true, isHeard: true, isLargeHeard: true),
        ])
        facts.services = ServiceFacts(
            hasLibrary: true, browseCode: 0, names: ["\(TestSwarm.node(1))", "\(TestSwarm.node(2))"],
            hasSystemBus: true, responders: ["avahi-daemon"], isPort5353Open: true)
        facts.firewall = FirewallFacts(rules: FirewallRules(nft: ""))
        facts.listeners = [ListeningPort(address: .unspecifiedIPv4, port: 8080)]
        facts.ownAddresses = [NetworkAddress(host: "192.168.1.1", port: 8080)]
        facts.ownOutcomes = [.reached]
        facts.machine = MachineFacts(
            hostname: "host1", isHostnameKnown: true, descriptorLimit: 1_024, membershipLimit: 20,
            groupRoutes: ["eth0"])
        facts.answers = [(host: host(2), answer: answer(.reached, heard: [.mdns, .multicast]))]
        return (subject, facts)
    }

    private static func answer(_ outcome: ConnectOutcome, heard: [DiscoveryChannel]) -> DiagnosisAnswer {
        DiagnosisAnswer(
            reached: [.init(address: NetworkAddress(host: "192.168.1.1", port: 8080), outcome: outcome)],
            heard: heard.map { .init(channel: $0, age: .seconds(1)) }, clock: clock, version: "0.3.0")
    }

    private static func interface(
        _ name: String, _ kind: InterfaceFacts.Kind, _ addresses: [String]
    ) -> InterfaceFacts {
        InterfaceFacts(
            interface: NetworkInterface(
                name: name, index: 1, isUp: true, isRunning: true, isLoopback: kind == .loopback,
                hasMulticast: kind != .loopback, isPointToPoint: kind == .tunnel,
                addresses: addresses.compactMap { text in
                    let parts = text.split(separator: "/")
                    guard let address = ScopedAddress(String(parts[0])), let length = Int(parts[1]) else { return nil }
                    return NetworkInterface.Address(address: address, prefixLength: length)
                }), kind: kind, mtu: 1_500, hasJoinedGroup: true)
    }

    @Test func `A host in order has nothing to complain of`() {
        let (subject, facts) = Self.healthy
        let checks = PeerDoctor.judge(subject, facts)
        #expect(checks.count >= 25)
        #expect(Set(checks.map(\.id)).count == checks.count)
        let complaints = checks.filter { $0.verdict > .skipped }
        #expect(complaints.isEmpty, "\(complaints)")
    }

    static let cases: [Case] = [
        Case("shared context off", "settings.enabled", .fail) { subject, _ in subject.isEnabled = false },
        Case("multicast off", "settings.multicast", .warn) { subject, _ in subject.multicast = false },
        Case("all channels off", "settings.channels", .fail, also: ["settings.mdns", "settings.multicast"]) {
            subject, _ in
            subject.mdns = false
            subject.multicast = false
        },
        Case("a key nobody else has", "key.source", .warn, also: ["peers.linked"]) { subject, facts in
            subject.isKeyOfThisMachineOnly = true
            subject.daemon?.hosts.removeAll { !$0.isSelf }
            facts.answers = []
        },
        Case("an open swarm", "key.open", .warn) { subject, _ in subject.security = .open },
        Case("an allowlist without the peer", "settings.allowlist", .warn) { subject, _ in
            subject.addressAllowlist = ["10.0.0.0/8"]
        },
        Case("loopback only", "interface.present", .warn) { _, facts in
            facts.interfaces.removeAll { $0.kind != .loopback }
        },
        Case("no cable", "interface.carrier", .warn) { _, facts in
            facts.interfaces[1].interface.isRunning = false
        },
        Case("no multicast flag", "interface.multicast", .warn) { _, facts in
            facts.interfaces[1].interface.hasMulticast = false
        },
        Case("jumbo frames", "interface.mtu", .warn) { _, facts in facts.interfaces[1].mtu = 9_000 },
        Case("tiny frames", "interface.mtu", .warn) { _, facts in facts.interfaces[1].mtu = 576 },
        Case("a container's network alone", "interface.virtual", .warn) { _, facts in
            facts.interfaces[1].kind = .virtual
        },
        Case("one network twice", "interface.overlap", .warn) { _, facts in
            facts.interfaces.append(interface("eth1", .physical, ["192.168.1.77/24"]))
        },
        Case("wireless, and nobody linked", "interface.wireless", .warn, also: ["peers.linked"]) { subject, facts in
            facts.interfaces[1].kind = .wireless
            subject.daemon?.hosts.removeAll { !$0.isSelf }
            facts.answers = []
        },
        Case("a bridge that filters", "interface.snooping", .warn) { _, facts in
            facts.interfaces[1].snoopsWithoutQuerier = true
        },
        Case("more interfaces than may be joined", "interface.memberships", .warn) { _, facts in
            facts.machine.membershipLimit = 1
        },
        Case("the port is taken", "multicast.port", .fail) { _, facts in
            facts.multicast = MulticastFacts(bindFailure: "bind: in use", holder: "other")
        },
        Case("a beacon is swallowed", "multicast.loop", .fail) { _, facts in
            facts.multicast?.trials[1].isHeard = false
        },
        Case("a beacon over IPv6 is swallowed", "multicast.loop_ipv6", .warn) { _, facts in
            facts.multicast?.trials[2].isHeard = false
        },
        Case("a large datagram is swallowed", "multicast.large", .warn) { _, facts in
            facts.multicast?.trials[1].isLargeHeard = false
        },
        Case("the group is not joined", "multicast.membership", .warn) { _, facts in
            facts.interfaces[1].hasJoinedGroup = false
        },
        Case("no beacon left", "multicast.sent", .fail) { subject, _ in subject.daemon?.channels[1].lastSent = nil },
        Case("beacons stopped", "multicast.sent", .warn) { subject, _ in
            subject.daemon?.channels[1].lastSent = clock - 60_000
        },
        Case("no beacon came", "multicast.received", .warn) { subject, _ in
            subject.daemon?.channels[1].lastReceived = nil
        },
        Case("beacons came once", "multicast.received", .warn) { subject, _ in
            subject.daemon?.channels[1].lastReceived = clock - 600_000
        },
        Case("forged beacons", "multicast.refused", .warn) { subject, _ in subject.daemon?.channels[1].refused = 3 },
        Case("the channel is down", "multicast.state", .fail) { subject, _ in
            subject.daemon?.channels[1].state = .unavailable
        },
        Case("no mDNS library", "mdns.library", .warn) { _, facts in facts.services?.hasLibrary = false },
        Case("no bus, no daemon", "mdns.dbus", .warn, also: ["mdns.daemon", "mdns.port"]) { _, facts in
            facts.services = ServiceFacts(hasLibrary: true, browseCode: -65_537)
        },
        Case("the daemon hangs", "mdns.daemon", .warn) { _, facts in facts.services = nil },
        Case("two responders", "mdns.port", .warn) { _, facts in
            facts.services?.responders.append("systemd-resolve")
        },
        Case("its own service is hidden", "mdns.visible", .warn) { _, facts in
            facts.services?.names = ["\(TestSwarm.node(2))"]
        },
        Case("the mDNS channel is down", "mdns.state", .warn) { subject, _ in
            subject.daemon?.channels[0].state = .unavailable
        },
        Case("nobody listens", "server.listening", .fail, also: ["machine.daemon"]) { subject, facts in
            subject.daemon = nil
            facts.listeners = []
        },
        Case("the server is on loopback", "server.address", .warn) { subject, _ in subject.host = "127.0.0.1" },
        Case("not reached at home", "server.own", .warn) { _, facts in facts.ownOutcomes = [.refused] },
        Case("not reached by the peer", "reach.from_peers", .warn) { _, facts in
            facts.answers[0].answer = answer(.timedOut, heard: [.mdns, .multicast])
        },
        Case("the peer does not answer", "reach.from_peers", .warn) { _, facts in facts.answers[0].answer = nil },
        Case("a firewall that drops beacons", "firewall.udp", .fail) { _, facts in
            facts.firewall.rules = FirewallRules(iptables: "-A INPUT -p udp --dport 5354 -j DROP")
        },
        Case("a firewall that accepts by name only", "firewall.tcp", .warn, also: ["firewall.udp"]) { _, facts in
            facts.firewall.rules = FirewallRules(iptables: "-P INPUT DROP")
        },
        Case("a resolver that hangs", "machine.hostname", .warn) { _, facts in
            facts.machine.isHostnameKnown = nil
        },
        Case("few descriptors", "machine.descriptors", .warn) { _, facts in facts.machine.descriptorLimit = 256 },
        Case("a container without seeds or peers", "machine.container", .warn, also: ["peers.linked"]) {
            subject, facts in
            facts.machine.container = "docker"
            subject.daemon?.hosts = []
            facts.answers = []
        },
        Case("strict filters on two interfaces", "machine.reverse_path", .warn) { _, facts in
            facts.interfaces.append(interface("eth1", .physical, ["10.0.0.1/24"]))
            facts.machine.hasStrictReversePath = ["eth0", "eth1"]
        },
        Case("a clock from the past", "machine.clock", .warn) { _, facts in facts.clock = 86_400_000 },
        Case("a seed without address", "seeds.resolve", .fail) { subject, facts in
            let seed = NetworkAddress(host: "nobody", port: 8080)
            subject.seeds = [seed]
            facts.seeds = [SeedFacts(seed: seed, addresses: [], failure: "unknown", outcomes: [])]
        },
        Case("a seed that is off", "seeds.reach", .fail) { subject, facts in
            let seed = NetworkAddress(host: "192.168.1.5", port: 8080)
            subject.seeds = [seed]
            facts.seeds = [SeedFacts(seed: seed, addresses: [.neighbour], failure: nil, outcomes: [.refused])]
        },
        Case("heard of, not linked", "peers.linked", .fail, also: ["reach.to_peers"]) { subject, facts in
            let lost = host(2, .unreachable, whyNot: "timed_out")
            subject.daemon?.hosts = [lost]
            facts.peerOutcomes = [(host: lost, outcome: .timedOut)]
            facts.answers = []
        },
        Case("heard one way", "peers.visibility", .warn) { _, facts in
            facts.answers[0].answer = answer(.reached, heard: [.mdns])
        },
        Case("a peer's clock is wrong", "peers.clock", .warn) { subject, _ in
            subject.daemon?.hosts.append(host(3, skew: .seconds(-3_600)))
        },
        Case("an older peer", "peers.version", .warn) { subject, _ in
            subject.daemon?.hosts.append(host(3, version: "0.2.0"))
        },
        Case("another swarm", "peers.foreign", .warn) { subject, _ in subject.daemon?.hosts.append(host(3, .foreign)) },
        Case("an open host beside", "peers.security", .warn) { subject, _ in
            subject.daemon?.hosts.append(host(3, .incompatible))
        },
        Case("a clone", "peers.clones", .fail) { subject, _ in subject.daemon?.hosts.append(host(3, .cloned)) },
        Case("an evicted host knocks", "peers.evicted", .warn) { subject, _ in
            subject.daemon?.hosts.append(host(3, .evicted))
        },
        Case("evicted oneself", "peers.own_eviction", .fail) { subject, _ in
            subject.daemon?.hosts.append(
                host(3, .evicted, whyNot: "10.0.0.3:8080 refuses this host: it was evicted from the swarm"))
        },
    ]

    @Test(arguments: cases)
    func `Each fault is named by its check, with a fix, and by no other`(fault: Case) throws {
        var (subject, facts) = Self.healthy
        fault.change(&subject, &facts)
        let checks = PeerDoctor.judge(subject, facts)
        let check = try #require(checks.first { $0.id == fault.check })
        #expect(check.verdict == fault.verdict, "\(check)")
        #expect(check.fix?.isEmpty == false)
        let complaints = Set(checks.filter { $0.verdict > .skipped }.map(\.id))
        #expect(complaints == fault.also.union([fault.check]))
    }

    @Test func `Every complaint has a fix, whatever the facts`() {
        for fault in Self.cases {
            var (subject, facts) = Self.healthy
            fault.change(&subject, &facts)
            for check in PeerDoctor.judge(subject, facts) where check.verdict > .skipped {
                #expect(check.fix?.isEmpty == false, "\(check.id)")
            }
        }
    }

    @Test func `Connections are tried to all that are silent, suspects among them`() {
        var (subject, _) = Self.healthy
        subject.daemon?.hosts = HostReport.State.allCases.enumerated().map { Self.host(UInt64($0) + 1, $1) }
        #expect(subject.silentPeers.map(\.state) == [.suspect, .dead, .connecting, .unreachable])
    }

    @Test func `The real machine is examined with a daemon and without`() async throws {
        var subject = DoctorSubject(
            multicastPort: 47_355, seeds: [NetworkAddress(host: "127.0.0.1", port: 1)], port: 1)
        let alone = await PeerDoctor.examine(subject)
        subject.daemon = DoctorSubject.Daemon(
            node: TestSwarm.node(1), swarm: TestSwarm.id, version: "0.3.0", channels: [], hosts: [Self.host(2)],
            ask: { _, question in
                // A peer that does not answer; cancelled with the doctor's patience.
                let (nothing, source) = AsyncStream.makeStream(of: Never.self)
                for await _ in nothing {}
                source.finish()
                return nil
            })
        let running = await PeerDoctor.examine(subject)
        #expect(alone.map(\.id) == running.map(\.id))
        #expect(running.first { $0.id == "reach.from_peers" }?.verdict == .warn)
        #expect(alone.first { $0.id == "seeds.reach" }?.verdict == .fail)
        // This is a real send and receive: a machine where it fails cannot run the swarm's tests either.
        #expect(alone.first { $0.id == "multicast.loop" }?.verdict == .ok)
    }
}
