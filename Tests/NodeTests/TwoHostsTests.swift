import Core
import Cryptography
import Node
import Store
import Swarm
import Testing

/// What is said on one host is known on the other; what is deleted on one is gone on both.
@Suite(.timeLimit(.minutes(1))) struct TwoHostsTests {
    private static func sqlite(_ index: Int) async throws -> any ContextStore {
        try await SQLiteContextStore.open(
            .memory, key: .custom(SymmetricKey([UInt8](repeating: 7, count: 32))), node: Pair.nodes[index],
            hostname: "test")
    }

    private static func pair(_ kind: World.StoreKind) async throws -> Pair {
        switch kind {
        case .double: await Pair.make()
        case .sqlite: await Pair.make(try await sqlite(0), try await sqlite(1))
        }
    }

    @Test("A conversation begun on one host goes on on the other", arguments: World.StoreKind.allCases)
    func continued(kind: World.StoreKind) async throws {
        let pair = try await Self.pair(kind)
        await pair.link()
        try await pair.a.ask(World.request("my name is Alice"))
        await pair.agree()
        try await pair.b.ask(World.request("who am I?"))
        #expect(pair.b.engine.prompt == ["my name is Alice", "answer 1", "who am I?"])
        await pair.agree()
        try await pair.a.ask(World.request("and now?"))
        #expect(pair.a.engine.prompt.count == 5)
        await pair.agree()
        let views = [
            try await pair.a.node.conversation(try #require(ConversationID("default")), of: .local),
            try await pair.b.node.conversation(try #require(ConversationID("default")), of: .local),
        ]
        #expect(views[0].digest == views[1].digest)
        #expect(views[0].header == views[1].header)
        #expect(views[0].header.turns == 6)
        #expect(try await pair.b.node.conversations(of: .local, limit: 9).count == 1)
    }

    @Test("What was said while the hosts were apart is there once they meet", arguments: World.StoreKind.allCases)
    func apart(kind: World.StoreKind) async throws {
        let pair = try await Self.pair(kind)
        try await pair.a.ask(World.request("on a"))
        try await pair.b.ask(World.request("on b"))
        await pair.link()
        try await pair.ticking {
            await pair.agree()
            let kept = try await pair.a.kept()
            #expect(kept.count == 4)
            #expect(Set(kept) == ["user:on a", "assistant:answer 1", "user:on b"])
            #expect(try await pair.b.kept() == kept)
            let headers = [
                try await pair.a.node.conversations(of: .local, limit: 2),
                try await pair.b.node.conversations(of: .local, limit: 2),
            ]
            #expect(headers[0] == headers[1])
            #expect(headers[0].map(\.turns) == [4])
        }
    }

    @Test("A turn added elsewhere shows in a conversation that is in use here", arguments: World.StoreKind.allCases)
    func shownAtOnce(kind: World.StoreKind) async throws {
        let pair = try await Self.pair(kind)
        await pair.link()
        for round in 1...5 {
            let (here, there) = round.isMultiple(of: 2) ? (pair.a, pair.b) : (pair.b, pair.a)
            try await here.ask(World.request("round \(round)", to: "c"))
            await pair.agree()
            #expect(try await there.kept("c").count == 2 * round)
        }
    }

    // MARK: - When a turn is safe

    private static func append(_ world: World, _ text: String = "x") async throws -> LogWriter.Appended {
        let body = TurnCodec.encode(Turn(message: Message(.user, text)))
        let draft = OperationLog.Draft(kind: .userTurn, stream: StreamID(Bytes16(high: 3, low: 3)), body: body)
        return try await world.writer.append(LogWriter.Entry(drafts: [draft]))
    }

    @Test("A peer's store makes a turn safe while this host's disk is still at work")
    func peerFirst() async throws {
        let store = MemoryStore(node: Pair.nodes[0])
        let pair = await Pair.make(store)
        await pair.link()
        let gate = Gate()
        await store.hold(1, until: gate)
        #expect(try await Self.append(pair.a).replicas == 1)
        #expect(await store.commits == 0)
        gate.open()
        await pair.agree()
        #expect(await store.commits == 1)
    }

    @Test(
        "A history that is sent again at once is recognised while this host's disk is still at work",
        arguments: [1, 2])
    func historyAtOnce(held: Int) async throws {
        let store = MemoryStore(node: Pair.nodes[0])
        let pair = await Pair.make(store)
        await pair.link()
        let gate = Gate()
        // The answer's, or its question's, which the answer waits for: a peer's word lets the client go on.
        await store.hold(held, until: gate)
        let first = try await pair.a.ask(World.request("hi"))
        let second = try await pair.a.ask(World.request("hi", first.text, "more"))
        #expect(second.conversation == first.conversation)
        #expect(await store.commits == held - 1)
        gate.open()
        await pair.agree()
        #expect(try await pair.a.kept().count == 4)
    }

    @Test("A conversation is found and listed also while its first write waits for another one")
    func behindAnother() async throws {
        let store = MemoryStore(node: Pair.nodes[0])
        let pair = await Pair.make(store)
        await pair.link()
        let gate = Gate()
        await store.hold(1, until: gate)
        _ = try await Self.append(pair.a)
        let first = try await pair.a.ask(World.request("hi"))
        async let second = pair.a.ask(World.request("hi", first.text, "more"))
        async let kept = pair.a.kept()
        async let listed = pair.a.node.conversations(of: .local, limit: 9)
        #expect(await store.commits == 0)
        gate.open()
        #expect(try await second.conversation == first.conversation)
        #expect(try await kept.starts(with: ["user:hi", "assistant:\(first.text)"]))
        #expect(try await listed.count == 1)
    }

    @Test("This host's disk makes a turn safe where there is no peer, or a slow one")
    func diskFirst() async throws {
        let store = MemoryStore(node: Pair.nodes[1])
        let pair = await Pair.make(MemoryStore(node: Pair.nodes[0]), store)
        #expect(try await Self.append(pair.a).replicas == 1)
        await pair.link()
        // What was written before the link is asked for, at a tick.
        try await pair.ticking { await pair.agree() }
        let gate = Gate()
        await store.hold(2, until: gate)
        #expect(try await Self.append(pair.a).replicas == 1)
        gate.open()
    }

    @Test("When the disk refuses, a turn that a peer has stored is safe, and comes back from it")
    func diskRefuses() async throws {
        let store = MemoryStore(node: Pair.nodes[0])
        let pair = await Pair.make(store)
        await pair.link()
        await store.refuse(1, with: RuntimeError(.system, "disk full"))
        let first = try await Self.append(pair.a, "one")
        #expect(first.replicas == 1)
        let second = try await Self.append(pair.a, "two")
        #expect(second.operations[0].dot.origin.epoch > first.operations[0].dot.origin.epoch)
        try await pair.ticking { await pair.agree() }
        #expect(await pair.a.writer.vector.contains(first.operations[0].dot))
        #expect(await pair.a.writer.lastRefusal == nil)
    }

    @Test("When the disk refuses and nobody else has it, the client hears of it")
    func nobodyHasIt() async throws {
        let store = MemoryStore(node: Pair.nodes[0])
        let pair = await Pair.make(store)
        await store.refuse(1, with: RuntimeError(.system, "disk full"))
        await #expect { _ = try await Self.append(pair.a) } throws: { ($0 as? RuntimeError)?.message == "disk full" }
        #expect(await pair.a.writer.lastRefusal != nil)
        #expect(try await Self.append(pair.a).replicas == 1)
    }

    @Test("With durability fsync only this host's disk counts")
    func fsync() async throws {
        let store = MemoryStore(node: Pair.nodes[0])
        let pair = await Pair.make(store, durability: .fsync)
        await pair.link()
        await store.refuse(1, with: RuntimeError(.system, "disk full"))
        await #expect { _ = try await Self.append(pair.a) } throws: { ($0 as? RuntimeError)?.message == "disk full" }
        let gate = Gate()
        await store.hold(2, until: gate)
        let appended = Task { try await Self.append(pair.a) }
        while await pair.b.writer.vector.entries.count < 2 { try await Task.sleep(for: .milliseconds(2)) }
        gate.open()
        #expect(try await appended.value.operations.count == 1)
    }

    @Test("With durability quorum more than half of the members must have it")
    func quorum() async throws {
        let pair = await Pair.make(durability: .quorum)
        await pair.link()
        await pair.a.writer.members(alive: 3)
        #expect(try await Self.append(pair.a).replicas == 2)
        await pair.a.writer.members(alive: 4)
        await #expect { _ = try await Self.append(pair.a) } throws: { ($0 as? RuntimeError)?.code == .unavailable }
    }

    @Test("An own turn does not overtake, on its way to the store, what came before it from elsewhere")
    func inOrder() async throws {
        let store = MemoryStore(node: Pair.nodes[0])
        let pair = await Pair.make(store)
        await pair.link()
        let (reached, release) = (Gate(), Gate())
        await store.holdRead(reached: reached, release: release)
        let theirs = Task { try await Self.append(pair.b, "theirs") }
        await reached.wait()
        // The peer's store makes it safe; here it waits.
        let other = OperationLog.Draft(
            kind: .userTurn, stream: StreamID(Bytes16(high: 4, low: 4)),
            body: TurnCodec.encode(Turn(message: Message(.user, "ours"))))
        let ours = try await pair.a.writer.append(LogWriter.Entry(drafts: [other]))
        #expect(ours.replicas == 1)
        #expect(await store.begun == 0)
        release.open()
        try await pair.ticking { await pair.agree() }
        #expect(await store.asked == [try await theirs.value.operations.map(\.dot), ours.operations.map(\.dot)])
    }

    @Test("What comes from elsewhere does not wait for an own turn's disk")
    func othersGoOn() async throws {
        let store = MemoryStore(node: Pair.nodes[0])
        let pair = await Pair.make(store)
        await pair.link()
        let gate = Gate()
        await store.hold(1, until: gate)
        #expect(try await Self.append(pair.a).replicas == 1)
        _ = try await Self.append(pair.b)
        await store.waitForCommits(1)
        #expect(await store.begun == 2)
        gate.open()
        try await pair.ticking { await pair.agree() }
    }

    // MARK: - Deletion

    private static func delete(_ world: World, _ id: String = "default") async throws -> Dot {
        try await world.conversations.delete(try #require(ConversationID(id)), of: .local)
    }

    private static func isGone(_ world: World, _ id: String = "default") async throws -> Bool {
        do {
            _ = try await world.node.conversation(try #require(ConversationID(id)), of: .local)
            return false
        } catch let error as RuntimeError where error.code == .notFound {
            return try await world.node.conversations(of: .local, limit: 9).isEmpty
        }
    }

    @Test(
        "A conversation deleted on one host is gone on both, also from the stores", arguments: World.StoreKind.allCases)
    func deleted(kind: World.StoreKind) async throws {
        let pair = try await Self.pair(kind)
        await pair.link()
        try await pair.a.ask(World.request("a secret"))
        // Else both may describe the conversation, each with an operation of its own.
        await pair.agree()
        try await pair.b.ask(World.request("another"))
        await pair.agree()
        let dot = try await Self.delete(pair.b)
        await pair.agree()
        for world in [pair.a, pair.b] {
            #expect(try await Self.isGone(world))
            #expect(try await Self.isGone(await world.restarted()))
            let stream = Conversations.stream(of: try #require(ConversationID("default")), owner: .local)
            let left = try await world.store.operations(of: stream)
            #expect(left.count == 6)
            #expect(left.allSatisfy { $0.kind == .delete || $0.flags.contains(.erased) })
        }
        try await pair.ticking {
            while await pair.b.writer.holders(of: dot).isEmpty { try await Task.sleep(for: .milliseconds(2)) }
        }
        await #expect { _ = try await Self.delete(pair.a) } throws: { ($0 as? RuntimeError)?.code == .notFound }
        // Begun anew it knows nothing of what was.
        try await pair.a.ask(World.request("hello"))
        #expect(pair.a.engine.prompt == ["hello"])
        await pair.agree()
        #expect(try await pair.b.kept().count == 2)
        try await pair.b.ask(World.request("more"))
        #expect(pair.b.engine.prompt.first == "hello")
        let view = try await pair.b.restarted().node.conversation(try #require(ConversationID("default")), of: .local)
        #expect(view.header.turns == 4)
    }

    @Test("A delete takes what was said elsewhere at the same time", arguments: World.StoreKind.allCases)
    func concurrentlyDeleted(kind: World.StoreKind) async throws {
        let pair = try await Self.pair(kind)
        await pair.link()
        try await pair.a.ask(World.request("one"))
        await pair.agree()
        await pair.unlink()
        _ = try await Self.delete(pair.a)
        try await pair.b.ask(World.request("two"))
        #expect(try await pair.b.kept().count == 4)
        await pair.link()
        try await pair.ticking { await pair.agree() }
        for world in [pair.a, pair.b] {
            #expect(try await Self.isGone(world))
            #expect(try await Self.isGone(await world.restarted()))
        }
    }

    @Test("An answer that ends after its conversation was deleted does not bring it back")
    func answerAfterDelete() async throws {
        let pair = await Pair.make()
        await pair.link()
        let gate = Gate()
        pair.a.engine.will(.text("a"), .wait(gate), .finish())
        let answer = try await pair.a.node.answer(World.request("one"), caller: .local)
        await pair.agree()
        _ = try await Self.delete(pair.b)
        await pair.agree()
        gate.open()
        for try await _ in answer.events {}
        await pair.agree()
        for world in [pair.a, pair.b] { #expect(try await Self.isGone(world)) }
    }

    // MARK: - Retries and later versions

    @Test("A request retried on another host that did not know of it stands once")
    func retriedElsewhere() async throws {
        let pair = await Pair.make()
        try await pair.a.ask(World.request("one", key: "k"))
        try await pair.b.ask(World.request("one", key: "k"))
        await pair.link()
        try await pair.ticking { await pair.agree() }
        for world in [pair.a, pair.b] {
            #expect(try await world.kept() == ["user:one", "assistant:answer 1"])
            #expect(try await world.ask(World.request("one", key: "k")).text == "answer 1")
        }
        try await pair.a.ask(World.request("two"))
        #expect(pair.a.engine.prompt == ["one", "answer 1", "two"])
    }

    @Test("Kinds and roles of a later version are kept and passed on; the conversation can be read")
    func laterVersion() async throws {
        let pair = await Pair.make()
        try await pair.a.ask(World.request("one"))
        let stream = Conversations.stream(of: try #require(ConversationID("default")), owner: .local)
        var body = ByteWriter()
        body.put(1)
        body.put(lengthPrefixed: Array("tool".utf8))
        let head = try #require(try await pair.a.store.operations(of: stream).last?.dot)
        for kind in [Operation.Kind.userTurn, Operation.Kind(rawValue: 60)] {
            _ = try await pair.a.writer.append(
                LogWriter.Entry(drafts: [
                    OperationLog.Draft(kind: kind, stream: stream, dependencies: [head], body: body.bytes)
                ]))
        }
        await pair.link()
        try await pair.ticking { await pair.agree() }
        for world in [pair.a, pair.b] {
            try await world.ask(World.request("two"))
            #expect(world.engine.prompt.prefix(2) == ["one", "answer 1"])
        }
    }

    @Test("What happens to conversations is told to whoever listens")
    func notices() async throws {
        let pair = await Pair.make()
        await pair.link()
        let notices = await pair.b.writer.notices()
        try await pair.a.ask(World.request("one"))
        await pair.agree()
        _ = try await Self.delete(pair.a)
        var updated: [ConversationID] = []
        for await notice in notices {
            if case .updated(let headers) = notice { updated += headers.map(\.id) }
            if case .removed = notice { break }
        }
        #expect(Set(updated.map(\.rawValue)) == ["default"])
    }

    @Test("What makes no sense is told to the link's reader, so that it closes the link")
    func malformed() async throws {
        let pair = await Pair.make()
        await pair.link()
        try await pair.a.ask(World.request("one"))
        await pair.agree()
        #expect(await !pair.b.writer.received([LinkChannel.replication.rawValue, 3, 0], from: pair.a.node.id))
        #expect(await pair.b.writer.tally.malformed == 1)
        // Nothing more is taken over this link, and that is no new fault.
        #expect(await pair.b.writer.received([LinkChannel.replication.rawValue, 3, 0], from: pair.a.node.id))
    }
}
