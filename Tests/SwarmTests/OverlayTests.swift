import Core
import Simulation
import Swarm
import Testing

@Suite struct OverlayTests {
    @Test("A thousand hosts: broadcasts reach all in O(log N) hops, once each in the end; also when 300 die at once")
    func thousand() {
        var world = OverlayWorld(hosts: 1000, seed: 1)
        #expect((world.degrees.max() ?? 0) <= Limits.meshHosts)
        #expect(world.isConnected)
        var reach = OverlayWorld.Reach()
        for round in 0..<8 {
            reach = world.broadcast(from: round * 77)
            #expect(reach.count == 1000)
            #expect(reach.lastHops <= 16)
        }
        #expect(reach.payloads < 1.4)
        #expect(reach.lastHops <= 12)

        var random = Seeded(5)
        let victims = Array((0..<1000).shuffled(using: &random).prefix(300))
        let author = (0..<1000).first { !victims.contains($0) } ?? 0
        world.kill(victims)
        for _ in 0..<2 { #expect(world.broadcast(from: author).count == 700) }
        world.bury(victims)
        world.run(for: .milliseconds(100))
        #expect((world.degrees.min() ?? 0) >= world.machines[author].ownChoices)
        #expect(world.broadcast(from: author).count == 700)
    }

    @Test(
        "Few links: nobody keeps more than allowed, links lead from each to each, also when a third dies",
        arguments: [(8, 3), (8, 2), (12, 4), (40, 3), (100, 5)] as [(Int, Int)])
    func fewLinks(hosts: Int, limit: Int) {
        for seed in 1...5 as ClosedRange<UInt64> {
            var world = OverlayWorld(hosts: hosts, limit: limit, seed: seed)
            world.run(for: .seconds(60))
            #expect((world.degrees.max() ?? 0) <= limit)
            #expect((world.degrees.min() ?? 0) >= 2)
            #expect(world.isConnected)
            for _ in 0..<3 { #expect(world.broadcast(from: 1).count == hosts) }
            let victims = (0..<hosts).filter { $0 % 3 == 0 }
            world.kill(victims)
            world.bury(victims)
            world.run(for: .seconds(60))
            #expect((world.degrees.max() ?? 0) <= limit)
            #expect(world.isConnected)
            #expect(world.broadcast(from: 1).count == hosts - victims.count)
        }
    }

    @Test("Below 65 hosts it rests; it does not go to and fro at the border")
    func border() {
        let everyone = (0..<65).map { OverlayWorld.node($0) }
        var overlay = Overlay(node: everyone[0], seed: 1)
        #expect(overlay.step(.joined(Array(everyone.prefix(64))), now: .zero).isEmpty)
        #expect(!overlay.isActive)
        let effects = overlay.step(.joined([everyone[64]]), now: .zero)
        #expect(overlay.isActive)
        guard case .neighbours(let place?) = effects.first else { return #expect(Bool(false), "no neighbours") }
        #expect(place.chosen.count == overlay.ownChoices)
        #expect(!place.chosen.contains(everyone[0]))
        #expect(place.ring.count == 2)
        var mesh: [Overlay.Effect] = []
        for node in everyone[1...8] { mesh += overlay.step(.gone(node), now: .zero) }
        #expect(overlay.isActive)
        for node in everyone[9...12] { mesh += overlay.step(.gone(node), now: .zero) }
        #expect(!overlay.isActive)
        #expect(mesh.last == .neighbours(nil))
    }

    @Test("A chosen neighbour that cannot be linked is replaced")
    func unreachable() {
        let everyone = (0..<200).map { OverlayWorld.node($0) }
        var overlay = Overlay(node: everyone[0], seed: 1)
        guard case .neighbours(let first?) = overlay.step(.joined(everyone), now: .zero).first else {
            return #expect(Bool(false), "no neighbours")
        }
        _ = overlay.step(.linked(first.chosen[0]), now: .milliseconds(500))
        #expect(overlay.step(.ticked, now: .seconds(1)).isEmpty)
        #expect(overlay.wake == .seconds(10))
        guard case .neighbours(let second?) = overlay.step(.ticked, now: .seconds(10)).first else {
            return #expect(Bool(false), "no other neighbours")
        }
        #expect(Set(first.chosen).intersection(second.chosen) == [first.chosen[0]])
        #expect(second.chosen.count == first.chosen.count)
    }

    @Test(
        "A host that loses all its links at once finds others within seconds, by refusals at once",
        arguments: [false, true])
    func lonely(isRefused: Bool) throws {
        for seed in 1...20 as ClosedRange<UInt64> {
            let everyone = (0..<8).map { OverlayWorld.node($0) }
            let node = everyone[Int(seed) % 8]
            var overlay = Overlay(node: node, limit: 3, seed: seed)
            _ = overlay.step(.joined(everyone.filter { $0 != node }), now: .zero)
            // It is linked with the two after it and one more; all of them die, and two of those that it tried before
            // had no room.
            let order = everyone.sorted()
            let place = try #require(order.firstIndex(of: node))
            let dead = [1, 2, 4].map { order[(place + $0) % 8] }
            for peer in dead { _ = overlay.step(.linked(peer), now: .seconds(1)) }
            for peer in everyone { _ = overlay.step(.full(peer), now: .seconds(59)) }
            for peer in dead { _ = overlay.step(.unlinked(peer), now: .seconds(60)) }
            for _ in 0..<8 where isRefused {
                for peer in dead { _ = overlay.step(.refused(peer), now: .seconds(60)) }
            }
            let end = Duration.seconds(isRefused ? 60 : 63)
            var now = Duration.seconds(60)
            // Whoever lives lets it in.
            while overlay.neighbours?.chosen.allSatisfy(dead.contains) == true, overlay.wake <= end {
                now = max(now, overlay.wake)
                _ = overlay.step(.ticked, now: now)
            }
            let chosen = try #require(overlay.neighbours).chosen
            #expect(!chosen.allSatisfy(dead.contains), "seed \(seed): \(chosen)")
        }
    }

    @Test("Three duplicates prune, two do not; a graft restores and is served from memory")
    func pruning() {
        let (peer, other, source) = (OverlayWorld.node(1), OverlayWorld.node(2), OverlayWorld.node(3))
        var overlay = Overlay(node: OverlayWorld.node(0), seed: 1)
        for node in [peer, other, source] { _ = overlay.step(.linked(node), now: .zero) }
        func gossip(_ content: UInt8, hops: Int = 1) -> OverlayMessage {
            .gossip(id: OverlayMessage.id(of: [content]), hops: hops, payload: [content])
        }
        for id in 1...3 as ClosedRange<UInt8> {
            let effects = overlay.step(.received(gossip(id), from: source), now: .zero)
            #expect(effects.contains(.send(gossip(id, hops: 2), to: peer)))
            let answer = overlay.step(.received(gossip(id), from: peer), now: .zero)
            #expect(answer == (id == 3 ? [.send(.prune, to: peer)] : []))
        }
        #expect(!overlay.isEager(peer))
        _ = overlay.step(.received(gossip(4), from: source), now: .zero)
        #expect(
            overlay.step(.ticked, now: .milliseconds(20)) == [
                .send(.iHave([OverlayMessage.Notice(id: OverlayMessage.id(of: [4]), hops: 2)]), to: peer)
            ])
        let served = overlay.step(
            .received(.graft([OverlayMessage.id(of: [4])]), from: peer), now: .milliseconds(80))
        #expect(served == [.send(gossip(4, hops: 2), to: peer)])
        #expect(overlay.isEager(peer))
    }

    @Test("What is announced and does not come is asked of each holder in turn, and then no more")
    func grafting() {
        let (first, second) = (OverlayWorld.node(1), OverlayWorld.node(2))
        let id = Bytes16(high: 3, low: 3)
        var overlay = Overlay(node: OverlayWorld.node(0), seed: 1)
        for node in [first, second] { _ = overlay.step(.linked(node), now: .zero) }
        for node in [first, second] {
            _ = overlay.step(.received(.iHave([OverlayMessage.Notice(id: id, hops: 1)]), from: node), now: .zero)
        }
        #expect(overlay.wake == .milliseconds(50))
        #expect(overlay.step(.ticked, now: .milliseconds(50)) == [.send(.graft([id]), to: first)])
        #expect(overlay.step(.ticked, now: .milliseconds(100)) == [.send(.graft([id]), to: second)])
        #expect(overlay.step(.ticked, now: .milliseconds(150)).isEmpty)
        #expect(overlay.wake > .seconds(1))
    }

    @Test("Strangers are ignored, and floods of made-up ids stay within bounds")
    func hostile() {
        let peer = OverlayWorld.node(1)
        var overlay = Overlay(node: OverlayWorld.node(0), seed: 1)
        let stranger = OverlayMessage.gossip(id: Bytes16(high: 0, low: 1), hops: 0, payload: [1])
        #expect(overlay.step(.received(stranger, from: peer), now: .zero).isEmpty)
        _ = overlay.step(.linked(peer), now: .zero)
        for batch in 0..<20 as Range<UInt64> {
            let ids = (0..<1024 as Range<UInt64>).map {
                OverlayMessage.Notice(id: Bytes16(high: batch, low: $0), hops: 1)
            }
            _ = overlay.step(.received(.iHave(ids), from: peer), now: .zero)
        }
        let grafts = overlay.step(.ticked, now: .seconds(1))
        #expect(grafts.count == 4096)
    }

    @Test("What is written can be read, and damaged bytes only throw", arguments: 0..<40 as Range<UInt64>)
    func codec(seed: UInt64) throws {
        var random = Seeded(seed)
        let ids = (0..<random.below(5)).map { _ in Bytes16(high: random.next(), low: random.next()) }
        let payload = (0..<random.below(50)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        for message in [
            OverlayMessage.gossip(id: OverlayMessage.id(of: payload), hops: random.below(60_000), payload: payload),
            .iHave(ids.map { OverlayMessage.Notice(id: $0, hops: 300) }), .graft(ids), .prune,
        ] {
            #expect(try OverlayMessage.decode(message.encoded) == message)
            damage(message.encoded, &random) { _ = try? OverlayMessage.decode($0) }
        }
    }
}

/// Hands out damaged copies of `bytes`: none may trap or hang.
func damage(_ bytes: [UInt8], _ random: inout Seeded, read: ([UInt8]) -> Void) {
    for length in 0..<min(bytes.count, 300) { read(Array(bytes.prefix(length))) }
    for _ in 0..<200 {
        var copy = bytes
        for _ in 0...random.below(3) where !copy.isEmpty {
            let place = random.below(copy.count)
            switch random.below(3) {
            case 0: copy[place] = UInt8(truncatingIfNeeded: random.next())
            case 1: copy.remove(at: place)
            default: copy.insert(contentsOf: [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F], at: place)
            }
        }
        read(copy)
    }
}
