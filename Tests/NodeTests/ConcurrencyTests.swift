import Core
import Cryptography
import Node
import Swarm
import Testing

@Suite struct ConcurrencyTests {
    @Test("Requests at once in one conversation end as branches; no turn is lost", arguments: World.StoreKind.allCases)
    func branches(kind: World.StoreKind) async throws {
        let world = await World(try await kind.make())
        try await world.ask(World.request("before"))
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in 0..<20 {
                group.addTask { try await world.ask(World.request("question \(index)")) }
            }
            try await group.waitForAll()
        }
        let kept = try await world.kept()
        #expect(kept.count == 42)
        #expect(Set(kept.filter { $0.hasPrefix("user:question") }).count == 20)
        // Questions and their answers stay together.
        #expect(kept.enumerated().allSatisfy { $0.offset.isMultiple(of: 2) == $0.element.hasPrefix("user:") })
        try await world.ask(World.request("after"))
        #expect(world.engine.prompt.count == 43)
        let view = try await world.node.conversation(try #require(ConversationID("default")), of: .local)
        #expect(view.branches == 1)
        #expect(view.header.turns == 44)
        let again = try await world.restarted().node.conversation(view.header.id, of: .local)
        #expect(again.digest == view.digest)
    }

    @Test("What is written while a conversation is being read from disk is not lost from it")
    func writtenWhileReading() async throws {
        let store = MemoryStore()
        try await World(store).ask(World.request("one", to: "c"))
        let world = await World(store)
        let (reached, release) = (Gate(), Gate())
        await store.holdRead(reached: reached, release: release)
        let slow = Task { try await world.ask(World.request("slow", to: "c")) }
        await reached.wait()
        // A history that the client sends needs no reading, so it is written meanwhile.
        try await world.ask(World.request("one", "answer 1", "quick"))
        release.open()
        _ = try await slow.value
        try await world.ask(World.request("last", to: "c"))
        #expect(world.engine.prompt.contains("quick"))
        #expect(world.engine.prompt.contains("slow"))
        #expect(try await world.kept("c").count == 8)
    }

    @Test("A conversation continued from more places than an operation may name can still be read and goes on")
    func manyHeads() async throws {
        let store = MemoryStore()
        let world = await World(store)
        try await world.ask(World.request("root", to: "c"))
        let stream = Conversations.stream(of: try #require(ConversationID("c")), owner: .local)
        let root = try #require(try await store.everything.last).dot
        let writer = world.writer
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in 0..<Limits.operationDependencies + 50 {
                group.addTask {
                    let body = TurnCodec.encode(Turn(message: Message(.user, "fork \(index)")))
                    let draft = OperationLog.Draft(kind: .userTurn, stream: stream, dependencies: [root], body: body)
                    _ = try await writer.append(LogWriter.Entry(drafts: [draft]))
                }
            }
            try await group.waitForAll()
        }
        let again = await world.restarted()
        try await again.ask(World.request("join", to: "c"))
        let view = try await world.restarted().node.conversation(try #require(ConversationID("c")), of: .local)
        #expect(view.turns.count == Limits.operationDependencies + 50 + 4)
        #expect(view.turns.last?.turn.message.role == .assistant)
        #expect(view.branches == 51)
    }

    @Test("Writes that wait for the disk share one commit")
    func groupCommit() async throws {
        let store = MemoryStore()
        let world = await World(store)
        let gate = Gate()
        await store.hold(1, until: gate)
        let writer = world.writer
        let operations = try await withThrowingTaskGroup(of: [Operation].self) { group in
            for index in 0..<100 {
                group.addTask {
                    let stream = StreamID(Bytes16(high: 0, low: UInt64(index)))
                    let drafts = ["q", "a"].map {
                        OperationLog.Draft(
                            kind: .userTurn, stream: stream, body: TurnCodec.encode(Turn(message: Message(.user, $0))))
                    }
                    return try await writer.append(LogWriter.Entry(drafts: drafts)).operations
                }
            }
            await store.waitForBegun(1)
            while await writer.queued < 99 { await Task.yield() }
            gate.open()
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(await store.commits == 2)
        #expect(operations.count == 100)
        #expect(Set(operations.joined().map(\.dot)).count == 200)
        for own in operations {
            #expect(own.count == 2)
            #expect(own.last?.dependencies == own.first.map { [$0.dot] })
        }
    }

    @Test("A conversation whose row is damaged does not fail the others that are written with it")
    func damagedRow() async throws {
        let store = MemoryStore()
        let world = await World(store)
        let (damaged, sound) = (StreamID(Bytes16(high: 1, low: 1)), StreamID(Bytes16(high: 1, low: 2)))
        await store.damage(damaged)
        let gate = Gate()
        await store.hold(1, until: gate)
        let writer = world.writer
        @Sendable func write(_ stream: StreamID) async throws -> [Operation] {
            let body = TurnCodec.encode(Turn(message: Message(.user, "x")))
            return try await writer.append(
                LogWriter.Entry(drafts: [OperationLog.Draft(kind: .userTurn, stream: stream, body: body)])
            ).operations
        }
        let first = Task { try await write(StreamID(Bytes16(high: 1, low: 3))) }
        await store.waitForBegun(1)
        let bad = Task { try await write(damaged) }
        let good = Task { try await write(sound) }
        while await writer.queued < 1 { await Task.yield() }
        gate.open()
        #expect(try await first.value.count == 1)
        #expect(try await good.value.count == 1)
        await #expect { _ = try await bad.value } throws: { ($0 as? RuntimeError)?.code == .corrupt }
        // A failed read uses up no epoch.
        #expect(Set(try await store.everything.map(\.dot.origin)).count == 1)
    }
}
