import Core
import Swarm
import Testing

@Suite struct MeshMessageTests {
    private static func greeting(_ random: inout Seeded) -> Greeting {
        Greeting(
            instance: InstanceID(Bytes16(high: random.next(), low: random.next())), started: random.next(),
            wallClock: random.next(), name: "hôte-\(random.below(9))", version: "1.0.0",
            security: random.below(2) == 0 ? .key : .open, port: 1 + random.below(65_535),
            addresses: [NetworkAddress(host: "fe80::1%eth0", port: 80), NetworkAddress(host: "h.local", port: 65_535)],
            attempt: random.next(), taken: random.next(),
            reached: random.below(2) == 0 ? nil : NetworkAddress(host: "10.0.0.1", port: 8080),
            isInquiry: random.below(2) == 0)
    }

    @Test("What is written can be read, and damaged bytes only throw", arguments: 0..<30 as Range<UInt64>)
    func codec(seed: UInt64) throws {
        var random = Seeded(seed)
        var messages: [MeshMessage] = [.greeting(Self.greeting(&random)), .ping(random.next()), .pong(7)]
        messages += MeshMessage.Refusal.allCases.map { .refusal($0) }
        for message in messages {
            #expect(try MeshMessage.decode(message.encoded) == message)
            damage(message.encoded, &random) { _ = try? MeshMessage.decode($0) }
        }
    }

    @Test("Later versions may say more: unknown kinds are skipped, further fields of a greeting too")
    func later() throws {
        var random = Seeded(1)
        let message = MeshMessage.greeting(Self.greeting(&random))
        #expect(try MeshMessage.decode(message.encoded + [1, 2, 3]) == message)
        #expect(try MeshMessage.decode([99, 1]) == nil)
        #expect(try MeshMessage.decode([2, 99]) == nil)
    }

    @Test("A name that would play tricks in a terminal arrives without them, and not longer than 255 bytes")
    func names() throws {
        var random = Seeded(2)
        var greeting = Self.greeting(&random)
        greeting.name = "a\u{1B}[31m\u{202E}b\n" + String(repeating: "é", count: 300)
        guard case .greeting(let read)? = try MeshMessage.decode(MeshMessage.greeting(greeting).encoded) else {
            return #expect(Bool(false), "no greeting")
        }
        #expect(read.name.hasPrefix("a[31mbé"))
        #expect(read.name.utf8.count <= 255)
    }

    @Test("A host that speaks another protocol is refused, and why is said")
    func otherProtocol() {
        var world = MeshWorld(hosts: 1, seed: 1)
        let number = LinkNumber(1)
        var random = Seeded(3)
        var greeting = Self.greeting(&random)
        greeting.protocolVersion = 9
        let sighting = Sighting(channel: .mdns, addresses: [MeshWorld.address(4)], node: MeshWorld.node(4))
        world.say(.sighted(sighting), at: 0)
        var mesh = world.hosts[0].mesh
        _ = mesh.step(
            .opened(
                number, node: MeshWorld.node(4), swarm: MeshWorld.home, address: MeshWorld.address(4), isDialed: false),
            now: .zero, wallClock: 0)
        let effects = mesh.step(.received(number, .greeting(greeting)), now: .zero, wallClock: 0)
        #expect(effects.contains(.send(number, .refusal(.version))))
        #expect(effects.contains(.close(number)))
        #expect(mesh.host(MeshWorld.node(4))?.standing == .incompatible)
    }

    @Test("Whoever opens a link and says nothing loses it after five seconds")
    func silent() {
        var mesh = MeshWorld(hosts: 1, seed: 1).hosts[0].mesh
        let opened = Mesh.Event.opened(
            LinkNumber(1), node: MeshWorld.node(4), swarm: MeshWorld.home, address: MeshWorld.address(4),
            isDialed: false)
        _ = mesh.step(opened, now: .zero, wallClock: 0)
        #expect(mesh.wake <= .seconds(5))
        #expect(mesh.step(.ticked, now: .seconds(5), wallClock: 0).contains(.close(LinkNumber(1))))
    }

    @Test("The dialed side tells where it was reached: an address that its host did not know")
    func reached() {
        var mesh = MeshWorld(hosts: 1, seed: 1).hosts[0].mesh
        var random = Seeded(5)
        var greeting = Self.greeting(&random)
        greeting.reached = NetworkAddress(host: "192.168.7.7", port: 9000)
        greeting.isInquiry = false
        _ = mesh.step(
            .opened(
                LinkNumber(1), node: MeshWorld.node(4), swarm: MeshWorld.home, address: MeshWorld.address(4),
                isDialed: false), now: .zero, wallClock: 0)
        let effects = mesh.step(.received(LinkNumber(1), .greeting(greeting)), now: .zero, wallClock: 0)
        let told = effects.compactMap { if case .reachable(let addresses) = $0 { addresses } else { nil } }
        #expect(told == [[MeshWorld.address(0), NetworkAddress(host: "192.168.7.7", port: 9000)]])
    }

    @Test(
        "Near: private, link-local and loopback addresses",
        arguments: [
            ("10.1.2.3", true), ("172.31.0.1", true), ("172.32.0.1", false), ("192.168.0.1", true), ("8.8.8.8", false),
            ("169.254.1.1", true), ("127.0.0.2", true), ("::1", true), ("fe80::1%eth0", true), ("fd00::7", true),
            ("2001:db8::1", false), ("::ffff:8.8.8.8", false), ("::ffff:10.0.0.1", true), ("intranet.local", false),
            ("0.0.0.0", false), ("100.64.0.1", false),
        ])
    func near(host: String, isNear: Bool) {
        #expect(NetworkAddress(host: host, port: 1).isNear == isNear)
    }
}
