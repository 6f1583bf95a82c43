import Core
import Cryptography
import Swarm
import Testing

/// One machine, fed by hand.
@Suite struct MembershipTests {
    private static let (me, peer, other, third) = (node(1), node(2), node(3), node(4))

    private static func node(_ index: Int) -> NodeID { MembershipWorld.node(index) }
    private static func instance(_ number: UInt64) -> InstanceID { InstanceID(Bytes16(high: 1, low: number)) }

    private static func machine(_ node: NodeID = me, instance number: UInt64 = 1, wallClock: UInt64 = 1000)
        -> Membership
    {
        Membership(
            node: node, instance: instance(number), facts: MemberFacts(name: "h", version: "1"),
            seals: .hashing(node), wallClock: wallClock, seed: 7)
    }

    /// A claim that `node` itself signed.
    private static func claim(
        _ node: NodeID, _ incarnation: UInt64 = 1000, instance number: UInt64 = 1, isLeaving: Bool = false,
        name: String = "h"
    ) -> SignedClaim {
        let seals = SealScheme.hashing(node)
        var claim = SignedClaim(
            node: node, instance: instance(number), incarnation: incarnation, isLeaving: isLeaving,
            facts: MemberFacts(name: name, version: "1"), author: seals.author, signature: [])
        claim.signature = (try? seals.sign(claim.message)) ?? []
        return claim
    }

    /// A machine that is linked with `peer`, and knows `other` and `third` through it; or knows those that it is linked
    /// with.
    private static func acquainted(linked: [NodeID] = [peer]) -> Membership {
        var machine = machine()
        for node in linked { _ = machine.step(.linked(node), now: .zero) }
        let known = linked == [peer] ? [peer, other, third] : linked
        let claims = known.map { MembershipClaim.own(claim($0)) }
        _ = machine.step(.received(.gossip(claims), from: peer), now: .zero)
        return machine
    }

    private static func messages(_ effects: [Membership.Effect], to node: NodeID) -> [MembershipMessage] {
        effects.compactMap { if case .send(let message, node) = $0 { message } else { nil } }
    }

    private static func states(_ effects: [Membership.Effect]) -> [Member.State] {
        effects.compactMap { if case .changed(let member) = $0 { member.state } else { nil } }
    }

    /// Ticks when they are due, with a keepalive a second from `heard`.
    private static func run(
        _ machine: inout Membership, from start: Duration, for duration: Duration, heard: [NodeID] = []
    ) -> [Membership.Effect] {
        var effects: [Membership.Effect] = []
        var now = start
        var nextKeepalive = start + .seconds(start == .zero ? 0 : 1)
        while min(machine.wake, nextKeepalive) <= start + duration {
            now = max(now, min(machine.wake, nextKeepalive))
            if now == nextKeepalive {
                for node in heard { effects += machine.step(.heard(node), now: now) }
                nextKeepalive += .seconds(1)
            }
            if machine.wake <= now { effects += machine.step(.ticked, now: now) }
        }
        return effects
    }

    // MARK: - Joining

    @Test("A new link is told this host's word at once; a newcomer's word makes it a member, and is passed on")
    func introduction() {
        var machine = Self.machine()
        let greeting = machine.step(.linked(Self.peer), now: .zero)
        #expect(Self.messages(greeting, to: Self.peer) == [.gossip([.own(machine.own)])])
        #expect(machine.members.isEmpty)
        _ = machine.step(.linked(Self.other), now: .zero)
        let claim = MembershipClaim.own(Self.claim(Self.peer))
        let effects = machine.step(.received(.gossip([claim]), from: Self.peer), now: .milliseconds(1))
        #expect(Self.states(effects) == [.alive])
        _ = machine.step(.received(.gossip([.own(Self.claim(Self.other))]), from: Self.other), now: .milliseconds(2))
        #expect(Self.messages(effects, to: Self.other).contains(.gossip([claim])))
        #expect(!Self.messages(effects, to: Self.peer).contains(.gossip([claim])))
    }

    @Test("Two tables are compared: what one knows better is sent, what it knows less of is asked for")
    func comparison() {
        var machine = Self.acquainted()
        let entries = [
            MembershipEntry(node: Self.me, incarnation: 1000, state: .alive),
            MembershipEntry(node: Self.other, incarnation: 2000, state: .alive),
            MembershipEntry(node: Self.third, incarnation: 500, state: .alive),
            MembershipEntry(node: Self.node(9), incarnation: 1, state: .dead),
        ]
        let effects = machine.step(.received(.table(entries), from: Self.peer), now: .seconds(1))
        let messages = Self.messages(effects, to: Self.peer)
        #expect(messages.contains(.request([Self.other, Self.node(9)])))
        let sent = messages.flatMap { message -> [MembershipClaim] in
            if case .gossip(let claims) = message { claims } else { [] }
        }
        #expect(sent.contains(.own(Self.claim(Self.third))))
        #expect(!sent.contains(.own(Self.claim(Self.other))))
    }

    @Test("Equal digests end the comparison")
    func digests() {
        let (left, right) = (Self.acquainted(), Self.acquainted())
        var machine = left
        guard
            case .send(.digest(let digest), _)? = Self.run(&machine, from: .zero, for: .seconds(40), heard: [Self.peer])
                .first(where: { if case .send(.digest, _) = $0 { true } else { false } })
        else { return #expect(Bool(false), "no digest in 40 s") }
        var reader = right
        // It has told whom it is linked with by then, as the other has.
        _ = Self.run(&reader, from: .zero, for: .seconds(5), heard: [Self.peer])
        let now = Duration.seconds(5)
        func answer(to digest: UInt64) -> MembershipMessage? {
            Self.messages(reader.step(.received(.digest(digest), from: Self.peer), now: now), to: Self.peer)
                .first { if case .table = $0 { true } else { false } }
        }
        #expect(answer(to: digest) == nil)
        guard case .table(let table)? = answer(to: digest ^ 1) else { return #expect(Bool(false), "no table") }
        #expect(table.count == 4)
    }

    // MARK: - Failing

    @Test("A linked member that is silent for longer than a keepalive is probed, then through others, then suspected")
    func silence() {
        var machine = Self.acquainted(linked: [Self.peer, Self.other])
        var effects = Self.run(&machine, from: .zero, for: .milliseconds(1200), heard: [Self.other])
        #expect(!effects.contains { if case .send(.ping, Self.peer) = $0 { true } else { false } })
        effects = Self.run(&machine, from: .milliseconds(1200), for: .milliseconds(100), heard: [Self.other])
        #expect(effects.contains { if case .send(.ping, Self.peer) = $0 { true } else { false } })
        effects = Self.run(&machine, from: .milliseconds(1300), for: .milliseconds(120), heard: [Self.other])
        guard
            case .send(.indirectPing(let token, Self.peer, _), Self.other)? = effects.first(where: {
                if case .send(.indirectPing(_, Self.peer, _), _) = $0 { true } else { false }
            })
        else { return #expect(Bool(false), "no indirect probe") }
        effects = machine.step(.received(.nack(token, []), from: Self.other), now: .milliseconds(1460))
        #expect(Self.states(effects) == [.suspect])
    }

    @Test("Who is suspected hears of it through those who are asked about it")
    func accusedThroughRelays() {
        var machine = Self.acquainted(linked: [Self.peer, Self.other])
        _ = Self.run(&machine, from: .zero, for: .seconds(2), heard: [Self.other])
        #expect(machine.member(Self.peer)?.state == .suspect)
        // Long after the news was told to everyone once.
        _ = machine.step(.unlinked(Self.peer), now: .seconds(2))
        let effects = Self.run(&machine, from: .seconds(2), for: .seconds(2), heard: [Self.other])
        let probes = effects.compactMap { effect -> [MembershipClaim]? in
            if case .send(.indirectPing(_, Self.peer, let claims), Self.other) = effect { claims } else { nil }
        }
        #expect(!probes.isEmpty)
        #expect(
            probes.allSatisfy {
                $0.contains { if case .suspect(Self.peer, _, _) = $0 { true } else { false } }
            })
    }

    @Test("What a host without links makes of the silence is told to the next one that it meets")
    func lonelySuspicion() {
        var machine = Self.acquainted()
        _ = machine.step(.unlinked(Self.peer), now: .milliseconds(10))
        _ = Self.run(&machine, from: .milliseconds(10), for: .seconds(4))
        #expect(machine.member(Self.other)?.state == .suspect)
        var effects = machine.step(.linked(Self.third), now: .seconds(4))
        effects += Self.run(&machine, from: .seconds(4), for: .milliseconds(500), heard: [Self.third])
        let told = Self.messages(effects, to: Self.third).contains { message in
            guard case .gossip(let claims) = message else { return false }
            return claims.contains { if case .suspect(Self.other, _, _) = $0 { true } else { false } }
        }
        #expect(told)
    }

    @Test("An ack from a stranger, or for an old probe, proves nothing")
    func foreignAck() {
        var machine = Self.acquainted(linked: [Self.peer, Self.other])
        _ = Self.run(&machine, from: .zero, for: .milliseconds(1300), heard: [Self.other])
        for token in 0...20 as ClosedRange<UInt64> {
            _ = machine.step(.received(.ack(token, []), from: Self.other), now: .milliseconds(1300))
        }
        let effects = Self.run(&machine, from: .milliseconds(1300), for: .seconds(1), heard: [Self.other])
        #expect(Self.states(effects).contains(.suspect))
    }

    @Test("A closed link and a refused connection bury it as soon as two others could not reach it either")
    func fastPath() {
        var machine = Self.acquainted(linked: [Self.peer, Self.other, Self.third])
        var effects = machine.step(.unlinked(Self.peer), now: .seconds(1))
        let tokens = effects.compactMap { effect -> (UInt64, NodeID)? in
            if case .send(.indirectPing(let token, Self.peer, _), let relay) = effect { (token, relay) } else { nil }
        }
        #expect(tokens.count == 2)
        effects = machine.step(.refused(Self.peer), now: .milliseconds(1002))
        #expect(Self.states(effects).isEmpty)
        for (token, relay) in tokens {
            #expect(machine.member(Self.peer)?.state == .alive)
            effects = machine.step(.received(.nack(token, []), from: relay), now: .milliseconds(1003))
        }
        #expect(machine.member(Self.peer)?.state == .dead)
    }

    @Test("Ticks that come late accuse nobody: the time in which this host did not run does not count")
    func lateTicks() {
        var machine = Self.acquainted(linked: [Self.peer, Self.other])
        _ = Self.run(&machine, from: .zero, for: .seconds(1), heard: [Self.peer, Self.other])
        let effects = machine.step(.ticked, now: .seconds(120))
        #expect(Self.states(effects).isEmpty)
        #expect(!effects.contains { if case .send(.ping, _) = $0 { true } else { false } }, "nobody was silent")
        #expect(machine.health > 0)
        #expect(machine.wake > .seconds(120))
        _ = machine.step(.heard(Self.peer), now: .seconds(120) + .milliseconds(1))
        _ = machine.step(.heard(Self.other), now: .seconds(120) + .milliseconds(1))
        let later = Self.run(&machine, from: .seconds(120), for: .seconds(20), heard: [Self.peer, Self.other])
        #expect(Self.states(later).isEmpty)
    }

    @Test("Trouble of its own makes this host slower to accuse; good times heal that")
    func health() {
        var machine = Self.acquainted(linked: [Self.peer, Self.other])
        for _ in 0..<20 { _ = machine.step(.lagged(.milliseconds(300)), now: .zero) }
        #expect(machine.health == 8)
        _ = machine.step(.lagged(.milliseconds(50)), now: .zero)
        _ = Self.run(&machine, from: .zero, for: .seconds(40), heard: [Self.peer, Self.other])
        #expect(machine.health == 0)
    }

    @Test("It probes for others: ack when the target answers, nack when it does not or is not linked")
    func errands() {
        var machine = Self.acquainted(linked: [Self.peer, Self.other])
        var effects = machine.step(.received(.indirectPing(5, Self.other, []), from: Self.peer), now: .zero)
        #expect(effects.contains { if case .send(.ping, Self.other) = $0 { true } else { false } })
        effects = machine.step(.heard(Self.other), now: .milliseconds(3))
        #expect(effects.contains(.send(.ack(5, []), to: Self.peer)))
        _ = machine.step(.received(.indirectPing(6, Self.other, []), from: Self.peer), now: .milliseconds(4))
        effects = Self.run(&machine, from: .milliseconds(4), for: .milliseconds(200))
        #expect(effects.contains(.send(.nack(6, []), to: Self.peer)))
        effects = machine.step(.received(.indirectPing(7, Self.third, []), from: Self.peer), now: .seconds(1))
        #expect(effects.contains(.send(.nack(7, []), to: Self.peer)))
    }

    // MARK: - Claims

    @Test("What is said of a member that this host hears itself it does not believe, and tells that member")
    func passesAccusationsOn() {
        for accusation in [
            MembershipClaim.suspect(Self.other, incarnation: 1000, by: Self.third),
            .dead(Self.other, incarnation: 1000, by: Self.third),
        ] {
            var machine = Self.acquainted(linked: [Self.peer, Self.other])
            _ = machine.step(.heard(Self.other), now: .milliseconds(900))
            let effects = machine.step(.received(.gossip([accusation]), from: Self.peer), now: .seconds(1))
            #expect(Self.states(effects).isEmpty)
            #expect(Self.messages(effects, to: Self.other) == [.gossip([accusation])])
        }
    }

    @Test("Accused itself, this host refutes with its next incarnation; a word of the past is answered, not obeyed")
    func refutation() {
        var machine = Self.acquainted()
        _ = machine.step(
            .received(.gossip([.dead(Self.me, incarnation: 1000, by: Self.other)]), from: Self.peer), now: .seconds(1))
        #expect(machine.own.incarnation == 1001)
        let effects = machine.step(
            .received(.gossip([.suspect(Self.me, incarnation: 900, by: Self.other)]), from: Self.peer), now: .seconds(1)
        )
        #expect(machine.own.incarnation == 1001)
        #expect(Self.messages(effects, to: Self.peer).contains(.gossip([.own(machine.own)])))
        _ = machine.step(
            .received(.gossip([.dead(Self.me, incarnation: .max, by: Self.other)]), from: Self.peer), now: .seconds(1))
        #expect(machine.own.incarnation == 1001)
    }

    @Test("Accused of what a clone of it said, which is gone by now, it asks for that and outdoes it")
    func refutationAfterClone() throws {
        var machine = Self.acquainted()
        let accusation = MembershipClaim.suspect(Self.me, incarnation: 5000, by: Self.other)
        let effects = machine.step(.received(.gossip([accusation]), from: Self.peer), now: .seconds(1))
        #expect(machine.own.incarnation == 1000)
        #expect(Self.messages(effects, to: Self.peer).contains(.request([Self.me])))
        let theirs = Self.claim(Self.me, 5000, instance: 99)
        _ = machine.step(.received(.gossip([.own(theirs), accusation]), from: Self.peer), now: .seconds(2))
        #expect(machine.own.incarnation == 5001)
    }

    @Test("A forged word about another changes nothing", arguments: 0..<6)
    func forgery(kind: Int) {
        var machine = Self.acquainted()
        var claim = Self.claim(Self.other, 5000, isLeaving: true, name: "forged")
        switch kind {
        case 0: claim.signature = Array(repeating: 0, count: 64)
        case 1: claim.facts.name = "changed after signing"
        case 2: claim.incarnation += 1
        case 3: claim.isLeaving = false
        case 4:
            // A key that is not this node's, with a good signature of its own.
            let seals = SealScheme.hashing(Self.third)
            claim.author = seals.author
            claim.signature = (try? seals.sign(claim.message)) ?? []
        default: claim = Self.claim(Self.other, 1 << 60)
        }
        let effects = machine.step(.received(.gossip([.own(claim)]), from: Self.peer), now: .seconds(1))
        #expect(Self.states(effects).isEmpty)
        #expect(machine.member(Self.other)?.incarnation == 1000)
        #expect(machine.member(Self.other)?.state == .alive)
    }

    @Test("Nobody is buried in an incarnation of which there is no word of its own: that word is asked for")
    func future() {
        var machine = Self.acquainted()
        let effects = machine.step(
            .received(.gossip([.dead(Self.other, incarnation: 9000, by: Self.third)]), from: Self.peer),
            now: .seconds(1))
        #expect(machine.member(Self.other)?.state == .alive)
        #expect(Self.messages(effects, to: Self.peer).contains(.request([Self.other])))
    }

    @Test("Who hears a member itself does not believe its death, and tells it")
    func hearsay() {
        var machine = Self.acquainted(linked: [Self.peer, Self.other])
        _ = machine.step(.heard(Self.other), now: .seconds(1))
        let dead = MembershipClaim.dead(Self.other, incarnation: 1000, by: Self.third)
        let effects = machine.step(.received(.gossip([dead]), from: Self.peer), now: .seconds(1))
        #expect(machine.member(Self.other)?.state == .alive)
        #expect(!Self.messages(effects, to: Self.other).isEmpty)
    }

    @Test("Its own word of going is taken; a later one of its own brings it back, an older does not")
    func leaving() {
        var machine = Self.acquainted()
        func say(_ claim: SignedClaim) -> [Member.State] {
            Self.states(machine.step(.received(.gossip([.own(claim)]), from: Self.peer), now: .seconds(1)))
        }
        #expect(say(Self.claim(Self.other, 1001, isLeaving: true)) == [.left])
        #expect(say(Self.claim(Self.other, 1000)).isEmpty)
        #expect(say(Self.claim(Self.other, 2000, instance: 2)) == [.alive])
        let own = machine.own.incarnation
        let goodbye = machine.step(.leaving, now: .seconds(2))
        guard case .gossip(let claims)? = Self.messages(goodbye, to: Self.peer).first,
            case .own(let last)? = claims.first
        else {
            return #expect(Bool(false), "no goodbye")
        }
        #expect(last.isLeaving && last.incarnation == own + 1)
        #expect(machine.step(.ticked, now: .seconds(9)).isEmpty)
    }

    @Test("An earlier run's word is outdone once; one that keeps coming back is a clone, and named")
    func ownClone() {
        var machine = Self.acquainted(linked: [Self.peer, Self.other])
        var named: [Membership.Effect] = []
        for round in 1...4 as ClosedRange<Int> {
            _ = Self.run(
                &machine, from: .seconds(2 * round - 2), for: .seconds(2), heard: [Self.peer, Self.other])
            let theirs = Self.claim(Self.me, machine.own.incarnation + 5, instance: 99)
            let effects = machine.step(.received(.gossip([.own(theirs)]), from: Self.peer), now: .seconds(2 * round))
            #expect(machine.own.incarnation == theirs.incarnation + 1)
            named += effects.filter { if case .cloned = $0 { true } else { false } }
            if round < 3 { #expect(named.isEmpty) }
            // Not as fast as the network goes.
            let again = Self.claim(Self.me, machine.own.incarnation + 5, instance: 99)
            _ = machine.step(
                .received(.gossip([.own(again)]), from: Self.peer), now: .seconds(2 * round) + .milliseconds(5))
            #expect(machine.own.incarnation == theirs.incarnation + 1)
        }
        #expect(named.first == .cloned(Self.me, Self.instance(99)))
    }

    @Test("A member whose instances take turns is a clone; one that started again is not")
    func othersClone() {
        var machine = Self.acquainted()
        func say(_ incarnation: UInt64, _ instance: UInt64) -> Bool {
            let claim = Self.claim(Self.other, incarnation, instance: instance)
            return machine.step(.received(.gossip([.own(claim)]), from: Self.peer), now: .seconds(1))
                .contains { if case .cloned = $0 { true } else { false } }
        }
        #expect(!say(2000, 2))
        #expect(say(3000, 1))
    }

    @Test("An evicted member is forgotten, whatever is said of it")
    func eviction() {
        var machine = Self.acquainted()
        #expect(machine.step(.evicted(Self.other), now: .seconds(1)).contains(.forgot(Self.other)))
        _ = machine.step(.received(.gossip([.own(Self.claim(Self.other, 7000))]), from: Self.peer), now: .seconds(1))
        #expect(machine.member(Self.other) == nil)
    }

    @Test("Made-up members stay within bounds, and do not push out the living")
    func flood() {
        var machine = Self.acquainted()
        for batch in 0..<70 {
            let claims = (0..<60).map { MembershipClaim.own(Self.claim(Self.node(1000 + batch * 60 + $0))) }
            _ = machine.step(.received(.gossip(claims), from: Self.peer), now: .seconds(1))
        }
        #expect(machine.members.count <= Limits.knownHosts)
        #expect(machine.member(Self.other) != nil)
    }

    @Test("Claims signed with Ed25519 are taken, and refused when a byte differs")
    func ed25519() throws {
        let key = try Ed25519.PrivateKey()
        let seals = SealScheme.ed25519(key)
        let node = try #require(seals.node(seals.author))
        let sender = Membership(
            node: node, instance: Self.instance(3), facts: MemberFacts(name: "real", version: "1"),
            seals: seals, wallClock: 10, seed: 1)
        var reader = Membership(
            node: Self.me, instance: Self.instance(1), facts: MemberFacts(name: "h", version: "1"),
            seals: .ed25519(try Ed25519.PrivateKey()), wallClock: 10, seed: 1)
        _ = reader.step(.linked(Self.peer), now: .zero)
        var forged = sender.own
        forged.incarnation += 1
        _ = reader.step(.received(.gossip([.own(forged)]), from: Self.peer), now: .zero)
        #expect(reader.members.isEmpty)
        let message = try #require(try MembershipMessage.decode(MembershipMessage.gossip([.own(sender.own)]).encoded))
        _ = reader.step(.received(message, from: Self.peer), now: .zero)
        #expect(reader.member(node)?.facts.name == "real")
    }

    // MARK: - Wire

    @Test("What is written can be read, and damaged bytes only throw", arguments: 0..<30 as Range<UInt64>)
    func codec(seed: UInt64) throws {
        var random = Seeded(seed)
        var own = Self.claim(Self.other, random.next() >> 12, instance: random.next(), isLeaving: seed % 2 == 0)
        own.facts.models = (0..<random.below(4)).map {
            HostedModel(name: "model-\($0)", aliases: ["m"], engine: "stdio", state: "ready")
        }
        own.facts.addresses = [
            NetworkAddress(host: "fe80::1%eth0", port: 8080), NetworkAddress(host: "10.1.2.3", port: 1),
        ]
        let claims: [MembershipClaim] = [
            .own(own), .suspect(Self.peer, incarnation: random.next(), by: Self.other),
            .dead(Self.third, incarnation: 0, by: Self.peer),
        ]
        let entries = Member.State.allCases.map { MembershipEntry(node: Self.node(5), incarnation: seed, state: $0) }
        let messages: [MembershipMessage] = [
            .ping(random.next(), claims), .ack(3, []), .indirectPing(4, Self.third, claims), .nack(5, claims),
            .gossip(claims), .digest(random.next()), .table(entries), .request([Self.me, Self.peer]),
        ]
        for message in messages {
            #expect(try MembershipMessage.decode(message.encoded) == message)
            damage(message.encoded, &random) { _ = try? MembershipMessage.decode($0) }
        }
        #expect(try MembershipMessage.decode([200, 1, 2]) == nil)
    }

    @Test("Seeded garbage, taken as it decodes, neither traps nor corrupts", arguments: 0..<10 as Range<UInt64>)
    func garbage(seed: UInt64) {
        var random = Seeded(seed)
        var machine = Self.acquainted(linked: [Self.peer, Self.other])
        let nodes = [Self.me, Self.peer, Self.other, Self.third, Self.node(77)]
        func claim() -> MembershipClaim {
            let node = nodes[random.below(nodes.count)]
            let incarnation = [0, 1000, 1001, .max, random.next()][random.below(5)]
            switch random.below(3) {
            case 0:
                return .own(Self.claim(node, incarnation, instance: random.next() % 3, isLeaving: random.below(4) == 0))
            case 1: return .suspect(node, incarnation: incarnation, by: nodes[random.below(nodes.count)])
            default: return .dead(node, incarnation: incarnation, by: nodes[random.below(nodes.count)])
            }
        }
        var now = Duration.zero
        for _ in 0..<600 {
            now += .milliseconds(random.below(200))
            let claims = (0..<random.below(4)).map { _ in claim() }
            let from = nodes[random.below(nodes.count)]
            let messages: [MembershipMessage] = [
                .ping(random.next(), claims), .ack(random.next() % 50, claims),
                .indirectPing(1, nodes[random.below(nodes.count)], claims), .nack(random.next() % 50, claims),
                .gossip(claims), .digest(random.next()),
                .table(nodes.map { MembershipEntry(node: $0, incarnation: random.next(), state: .dead) }),
                .request(nodes),
            ]
            let event: Membership.Event =
                switch random.below(8) {
                case 0: .linked(from)
                case 1: .unlinked(from)
                case 2: .refused(from)
                case 3: .ticked
                default: .received(messages[random.below(messages.count)], from: from)
                }
            let effects = machine.step(event, now: now)
            for effect in effects {
                guard case .send(let message, _) = effect else { continue }
                #expect((try? MembershipMessage.decode(message.encoded)) == message)
            }
            #expect(machine.wake > .zero)
        }
        #expect(machine.own.node == Self.me)
        #expect(machine.own.incarnation <= 1 << 53)
        #expect(machine.member(Self.me) == nil)
    }
}
