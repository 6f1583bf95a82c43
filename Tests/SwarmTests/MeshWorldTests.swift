import Core
import Swarm
import Testing

@Suite struct MeshWorldTests {
    @Test(
        "Two that dial one another at once keep one link, the same on both sides", arguments: 0..<200 as Range<UInt64>)
    func doubleDial(seed: UInt64) {
        var world = MeshWorld(hosts: 2, seed: seed)
        // By address alone: nobody is polite to somebody of whom he knows no id.
        world.sight(1, at: 0, by: .seed)
        world.sight(0, at: 1, by: .seed)
        world.run(for: .seconds(1))
        #expect(world.flaws().isEmpty, "seed \(seed)")
        #expect(world.hosts.allSatisfy { $0.adoptions.values.allSatisfy { $0 == 1 } }, "seed \(seed): it flaps")
        let dials = world.hosts.map(\.dials.count)
        world.run(for: .seconds(60))
        #expect(world.hosts.map(\.dials.count) == dials, "seed \(seed): it dials on")
        #expect(world.flaws().isEmpty, "seed \(seed)")
    }

    @Test("Everyone who hears of everyone, several times and in any order, is linked once", arguments: [3, 12, 40])
    func crowd(count: Int) {
        for seed in 0..<(count > 20 ? 1 : 6) as Range<UInt64> {
            var world = MeshWorld(hosts: count, seed: seed)
            var random = Seeded(seed)
            for _ in 0..<3 {
                for index in 0..<count {
                    for other in 0..<count where other != index && random.below(10) > 0 {
                        world.sight(other, at: index, by: random.below(2) == 0 ? .mdns : .multicast)
                        if random.below(20) == 0 { world.run(for: .milliseconds(random.below(30))) }
                    }
                }
            }
            world.run(for: .seconds(5))
            #expect(world.flaws().isEmpty, "seed \(seed)")
            let most = world.hosts.flatMap(\.adoptions.values).max() ?? 0
            #expect(most == 1, "seed \(seed): a link was replaced")
        }
    }

    @Test("A host that knows one member finds the others through the claims of members")
    func throughMembers() {
        var world = MeshWorld(hosts: 3, seed: 1)
        world.sight(0, at: 1, by: .seed)
        world.sight(0, at: 2, by: .seed)
        world.run(for: .seconds(1))
        world.say(.member(MeshWorld.node(2), .alive, addresses: [MeshWorld.address(2)]), at: 1)
        world.run(for: .seconds(1))
        #expect(world.flaws().isEmpty)
    }

    @Test("A link of which only one side knows that it is gone is replaced", arguments: 0..<40 as Range<UInt64>)
    func halfOpen(seed: UInt64) {
        var world = MeshWorld(hosts: 2, seed: seed)
        world.sight(1, at: 0, by: .seed)
        world.sight(0, at: 1, by: .seed)
        world.run(for: .seconds(20))
        for round in 0..<3 {
            world.cut(Int(seed) % 2, from: 1 - Int(seed) % 2)
            world.run(for: .seconds(10))
            #expect(world.flaws().isEmpty, "seed \(seed), round \(round)")
        }
    }

    @Test("A host that starts again is let in: at once where its end closed the link, after a second where not")
    func restart() {
        for isQuiet in [false, true] {
            var world = MeshWorld(hosts: 2, seed: 3)
            world.sight(1, at: 0)
            world.run(for: .seconds(20))
            if isQuiet { world.vanish(1) } else { world.kill(1) }
            world.run(for: .milliseconds(200))
            world.restart(1)
            world.sight(0, at: 1)
            world.run(for: .milliseconds(isQuiet ? 2500 : 800))
            #expect(world.flaws().isEmpty, "quiet: \(isQuiet)")
            #expect(world.hosts[0].noticed.allSatisfy { $0.standing != .cloned })
        }
    }

    @Test("A dead process is noticed by the refused connection, at once")
    func refused() {
        var world = MeshWorld(hosts: 2, seed: 3)
        world.sight(1, at: 0)
        world.run(for: .seconds(20))
        world.say(.member(MeshWorld.node(1), .alive, addresses: []), at: 0)
        world.kill(1)
        world.run(for: .milliseconds(100))
        #expect(world.hosts[0].refusals == [MeshWorld.node(1)])
    }

    @Test("A second instance with an identity that is linked is refused and named; the first stays")
    func clone() {
        var world = MeshWorld(hosts: 3, seed: 4)
        for index in 0..<3 { for other in 0..<3 where other != index { world.sight(other, at: index) } }
        world.run(for: .seconds(10))
        let copy = world.add(id: 1)
        for index in [0, 2] { world.sight(index, at: copy) }
        world.run(for: .seconds(40))
        for index in [0, 2] {
            #expect(world.hosts[index].adoptions[MeshWorld.node(1)] == 1)
            let named = world.hosts[index].mesh.hosts.filter { $0.standing == .cloned }
            #expect(named.map(\.instance) == [MeshWorld.instance(copy + 1)])
            #expect(named.first?.whyNot?.contains("node.key") == true)
        }
        #expect(world.hosts[copy].used.isEmpty)
        #expect(world.hosts[copy].mesh.host(MeshWorld.node(0))?.standing == .cloned)
        #expect(world.hosts[copy].dials.count < 20)
    }

    @Test("The host itself is linked when a clone that was linked in its place falls silent and is not to be found")
    func silentClone() {
        var world = MeshWorld(hosts: 2, seed: 8)
        let copy = world.add(id: 1)
        world.sight(copy, at: 0)
        world.run(for: .seconds(10))
        world.sight(0, at: 1)
        world.run(for: .seconds(1))
        #expect(world.hosts[1].mesh.host(MeshWorld.node(0))?.standing == .cloned)
        // For the others the host is alive all the time: it is linked with them.
        world.say(.member(MeshWorld.node(1), .alive, addresses: []), at: 0)
        world.vanish(copy)
        world.cut(0, from: copy)
        world.run(for: .seconds(5))
        #expect(world.hosts[0].used[MeshWorld.node(1)] != nil)
        #expect(world.hosts[1].used[MeshWorld.node(0)] != nil)
    }

    @Test("A clone that was linked and says nothing more gives way to the host itself, before anybody misses it")
    func speechlessClone() {
        var world = MeshWorld(hosts: 2, seed: 8)
        let copy = world.add(id: 1)
        world.sight(copy, at: 0)
        world.run(for: .seconds(10))
        world.sight(0, at: 1)
        world.run(for: .seconds(1))
        #expect(world.hosts[1].mesh.host(MeshWorld.node(0))?.standing == .cloned)
        world.vanish(copy)
        world.run(for: .seconds(5))
        #expect(world.hosts[1].used[MeshWorld.node(0)] != nil)
        // It is no clone any more, and nobody asks after it every second.
        #expect(world.hosts[0].mesh.hosts.allSatisfy { $0.standing != .cloned })
        let dials = world.hosts[0].dials.count
        world.run(for: .seconds(20))
        #expect(world.hosts[0].dials.count == dials)
    }

    @Test("A greeting is taken while this host waits in vain for the answer to its own")
    func answeredLate() {
        var world = MeshWorld(hosts: 2, seed: 9)
        let copy = world.add(id: 1)
        world.freeze(copy)
        world.sight(copy, at: 0)
        world.run(for: .seconds(1.5))
        world.sight(0, at: 1)
        world.run(for: .seconds(1))
        #expect(world.hosts[1].used[MeshWorld.node(0)] != nil)
    }

    @Test("A neighbour that is chosen anew is dialed now, however often it had no room for a chord")
    func chosenAnew() {
        var world = MeshWorld(hosts: 2, seed: 10)
        let other = MeshWorld.node(1)
        world.say(.neighbours(Overlay.Neighbours(chosen: [other], ring: [])), at: 0)
        world.kill(1)
        world.sight(1, at: 0)
        world.say(.member(other, .alive, addresses: []), at: 0)
        world.run(for: .seconds(100))
        world.say(.neighbours(Overlay.Neighbours(chosen: [], ring: [])), at: 0)
        world.restart(1)
        world.say(.neighbours(Overlay.Neighbours(chosen: [other], ring: [])), at: 0)
        world.run(for: .seconds(1.5))
        #expect(world.hosts[0].used[other] != nil)
    }

    @Test("The clone is named as well where it is sighted instead of calling, and by the host that it copies")
    func sightedClone() {
        var world = MeshWorld(hosts: 2, seed: 5)
        world.sight(1, at: 0)
        world.run(for: .seconds(10))
        let copy = world.add(id: 1)
        world.sight(copy, at: 0)
        world.sight(copy, at: 1)
        world.run(for: .seconds(10))
        for index in 0..<2 {
            let named = world.hosts[index].mesh.hosts.filter { $0.standing == .cloned }
            #expect(named.map(\.instance) == [MeshWorld.instance(copy + 1)], "host \(index)")
        }
        #expect(world.hosts[0].used[MeshWorld.node(1)] != nil)
    }

    @Test("This host's own address is dialed once and never again")
    func mirror() {
        var world = MeshWorld(hosts: 1, seed: 6)
        world.say(.moved([]), at: 0)
        for _ in 0..<5 {
            world.sight(0, at: 0, by: .seed)
            world.run(for: .seconds(3))
        }
        #expect(world.hosts[0].dials.count == 1)
        #expect(world.hosts[0].mesh.hosts.isEmpty)
    }

    @Test("A host that announces another swarm is foreign and not dialed; when its tag is ours, it is")
    func foreignTag() {
        var world = MeshWorld(hosts: 1, seed: 7)
        world.add(id: 1)
        for _ in 0..<5 {
            world.sight(1, at: 0, tag: MeshWorld.abroad)
            world.run(for: .seconds(1))
        }
        #expect(world.hosts[0].dials.isEmpty)
        #expect(world.hosts[0].mesh.hosts.first?.standing == .foreign)
        #expect(world.hosts[0].mesh.hosts.first?.whyNot?.contains("swarm join") == true)
        #expect(world.hosts[0].noticed.count == 1)
        world.say(.swarms([MeshWorld.home, MeshWorld.abroad]), at: 0)
        world.run(for: .seconds(1))
        #expect(world.flaws().isEmpty)
    }

    @Test("A seed with another key is foreign, and dialed ever more seldom")
    func keyMismatch() {
        var world = MeshWorld(hosts: 1, seed: 8)
        world.add(id: 1, swarm: MeshWorld.abroad)
        world.sight(1, at: 0, by: .seed)
        world.run(for: .seconds(300))
        #expect(world.hosts[0].mesh.hosts.first?.standing == .foreign)
        let dials = world.hosts[0].dials
        #expect((10...25).contains(dials.count), "\(dials.count) dials in 5 minutes")
        let pauses = zip(dials, dials.dropFirst()).map { $1 - $0 }
        #expect(pauses.allSatisfy { $0 >= .milliseconds(75) && $0 <= .milliseconds(30_100) })
    }

    @Test("Open and keyed hosts are incompatible, and say so")
    func open() {
        var world = MeshWorld(hosts: 1, seed: 9)
        let sighting = Sighting(
            channel: .mdns, addresses: [MeshWorld.address(3)], node: MeshWorld.node(3), swarm: MeshWorld.abroad,
            security: .open)
        world.say(.sighted(sighting), at: 0)
        world.run(for: .seconds(60))
        #expect(world.hosts[0].mesh.hosts.first?.standing == .incompatible)
        #expect(world.hosts[0].dials.isEmpty)
    }

    @Test("An evicted host loses its link and gets none")
    func evicted() {
        var world = MeshWorld(hosts: 2, seed: 10)
        world.sight(1, at: 0)
        world.run(for: .seconds(10))
        world.say(.denied([MeshWorld.node(1)]), at: 0)
        world.run(for: .seconds(60))
        #expect(world.hosts[0].used.isEmpty)
        #expect(world.hosts[1].used.isEmpty)
        #expect(world.hosts[0].mesh.host(MeshWorld.node(1))?.standing == .evicted)
        #expect(world.hosts[1].mesh.host(MeshWorld.node(0))?.standing == .evicted)
    }

    @Test("An evicted host knocks nowhere any more")
    func shutOut() {
        var world = MeshWorld(hosts: 2, seed: 10)
        world.say(.member(MeshWorld.node(3), .alive, addresses: [MeshWorld.address(3)]), at: 0)
        world.run(for: .seconds(5))
        let dials = world.hosts[0].dials.count
        #expect(dials > 0)
        world.say(.evicted, at: 0)
        world.sight(1, at: 0)
        world.run(for: .seconds(60))
        #expect(world.hosts[0].dials.count == dials)
    }

    @Test("The dead are dialed one every two seconds, after ten minutes one every ten, and at each sighting")
    func dead() {
        var world = MeshWorld(hosts: 1, seed: 11)
        for index in 5..<10 {
            world.say(.member(MeshWorld.node(index), .alive, addresses: [MeshWorld.address(index)]), at: 0)
            world.say(.member(MeshWorld.node(index), .dead, addresses: [MeshWorld.address(index)]), at: 0)
        }
        world.run(for: .seconds(100))
        #expect((40...62).contains(world.hosts[0].dials.count), "\(world.hosts[0].dials.count) dials")
        world.run(for: .seconds(505))
        let later = world.hosts[0].dials.count
        world.run(for: .seconds(100))
        #expect((8...12).contains(world.hosts[0].dials.count - later), "\(world.hosts[0].dials.count - later) dials")
        let before = world.hosts[0].dials.count
        world.say(
            .sighted(
                Sighting(
                    channel: .multicast, addresses: [MeshWorld.address(7)], node: MeshWorld.node(7),
                    swarm: MeshWorld.home)), at: 0)
        world.run(for: .seconds(1))
        #expect(world.hosts[0].dials.count > before)
    }

    @Test("A member that is missed is dialed once it is heard of, however long it could not be reached")
    func heardAgain() {
        var world = MeshWorld(hosts: 2, seed: 12)
        world.sight(1, at: 0)
        world.run(for: .seconds(10))
        world.say(.member(MeshWorld.node(1), .alive, addresses: []), at: 0)
        world.kill(1)
        world.run(for: .seconds(120))
        world.restart(1)
        // Known already: nothing about it is new but that it speaks.
        world.say(
            .sighted(
                Sighting(
                    channel: .multicast, addresses: [MeshWorld.address(1)], node: MeshWorld.node(1),
                    swarm: MeshWorld.home)), at: 0)
        world.run(for: .seconds(2))
        #expect(world.flaws().isEmpty)
    }

    @Test("Who was kept waiting for a link that died meanwhile is linked at once")
    func contenderOfADeadLink() {
        var world = MeshWorld(hosts: 2, seed: 13)
        world.sight(1, at: 0)
        world.run(for: .seconds(10))
        world.say(.member(MeshWorld.node(1), .alive, addresses: []), at: 0)
        world.vanish(1)
        world.restart(1)
        // Its restart is dialed, and the old link is given up before it has been pinged for a second.
        world.sight(1, at: 0)
        world.run(for: .milliseconds(300))
        world.say(.member(MeshWorld.node(1), .dead, addresses: []), at: 0)
        world.run(for: .milliseconds(1_900))
        #expect(world.flaws().isEmpty)
    }

    @Test("What a member tells leads to no door in the Internet, unless an operator named it")
    func hostileAddresses() {
        var world = MeshWorld(hosts: 1, seed: 12)
        let far = NetworkAddress(host: "203.0.113.9", port: 8080)
        let named = NetworkAddress(host: "evil.example", port: 22)
        world.say(.member(MeshWorld.node(5), .alive, addresses: [far, named]), at: 0)
        world.say(.sighted(Sighting(channel: .peer, addresses: [far, named], node: MeshWorld.node(6))), at: 0)
        world.run(for: .seconds(30))
        #expect(world.hosts[0].dials.isEmpty)
        world.say(.sighted(Sighting(channel: .seed, addresses: [far])), at: 0)
        world.run(for: .seconds(1))
        #expect(world.hosts[0].dials.count == 1)
    }

    @Test(
        "An open swarm ends with the LAN, unless an operator named the address",
        arguments: [DiscoveryChannel.mdns, .multicast])
    func openSwarmStaysNear(channel: DiscoveryChannel) {
        let far = NetworkAddress(host: "203.0.113.9", port: 8080)
        for security in [SwarmSecurity.open, .key] {
            var world = MeshWorld(hosts: 0, seed: 16)
            let host = world.add(id: 0, security: security)
            world.say(.sighted(Sighting(channel: channel, addresses: [far], node: MeshWorld.node(5))), at: host)
            world.run(for: .seconds(30))
            #expect(world.hosts[host].dials.isEmpty == (security == .open))
            var mesh = world.hosts[host].mesh
            let effects = mesh.step(
                .opened(LinkNumber(900), node: MeshWorld.node(6), swarm: MeshWorld.home, address: far, isDialed: false),
                now: .seconds(31), wallClock: 0)
            #expect(effects.contains(.close(LinkNumber(900))) == (security == .open))
        }
        var world = MeshWorld(hosts: 0, seed: 17)
        let host = world.add(id: 0, security: .open)
        world.say(.sighted(Sighting(channel: .seed, addresses: [far])), at: host)
        world.run(for: .seconds(1))
        #expect(world.hosts[host].dials.count == 1)
    }

    @Test("Idle, a link carries a ping every half minute")
    func idle() {
        var world = MeshWorld(hosts: 2, seed: 13)
        world.sight(1, at: 0)
        world.run(for: .seconds(10))
        let before = world.messages
        world.run(for: .seconds(600))
        #expect(world.messages - before < 100)
        let trip = world.hosts[0].mesh.host(MeshWorld.node(1))?.roundTrip
        #expect(trip.map { $0 > .zero && $0 < .milliseconds(10) } == true)
    }

    @Test("A flood of made-up announcements stays within bounds")
    func flood() {
        var world = MeshWorld(hosts: 2, seed: 14)
        world.sight(1, at: 0)
        world.run(for: .seconds(10))
        for index in 0..<4_200 {
            let sighting = Sighting(
                channel: .mdns, addresses: [NetworkAddress(host: "10.9.\(index / 250).\(index % 250)", port: 1)],
                node: NodeID(Bytes16(high: 77, low: UInt64(index))), swarm: MeshWorld.abroad)
            world.say(.sighted(sighting), at: 0)
        }
        #expect(world.hosts[0].mesh.hosts.count <= Limits.knownHosts)
        #expect(world.hosts[0].used[MeshWorld.node(1)] != nil)
    }

    @Test("Of several addresses the dead ones cost no more than a moment, and one that leads elsewhere misleads nobody")
    func manyAddresses() {
        var world = MeshWorld(hosts: 3, seed: 15)
        let nowhere = (100..<103).map { MeshWorld.address($0) }
        world.say(
            .sighted(
                Sighting(
                    channel: .mdns, addresses: nowhere + [MeshWorld.address(2), MeshWorld.address(1)],
                    node: MeshWorld.node(1), instance: MeshWorld.instance(2), swarm: MeshWorld.home)), at: 0)
        world.run(for: .milliseconds(1500))
        #expect(world.hosts[0].used[MeshWorld.node(1)] != nil)
        world.run(for: .seconds(30))
        #expect(world.hosts[0].adoptions[MeshWorld.node(1)] == 1)
        #expect(world.hosts[0].mesh.host(MeshWorld.node(1))?.addresses.contains(MeshWorld.address(2)) == false)
        #expect(world.hosts[0].mesh.host(MeshWorld.node(2))?.standing == .linked)
        #expect(world.hosts[0].ends.count == world.hosts[0].used.count)
    }
}
