import Core
import Node
import Testing

/// A request that comes again is appended once; a question that is asked again on purpose is answered again.
@Suite struct RetryTests {
    @Test(
        "The same idempotency key gives the stored answer and writes nothing", arguments: World.StoreKind.allCases,
        [nil, "c"] as [String?])
    func sameKey(kind: World.StoreKind, conversation: String?) async throws {
        let world = await World(try await kind.make())
        let first = try await world.ask(World.request("one", to: conversation, key: "k1"))
        let between = try await world.ask(World.request("two", to: conversation))
        let again = try await world.ask(World.request("one", to: conversation, key: "k1"))
        #expect(again.events == first.events)
        #expect(again.conversation == between.conversation)
        #expect(world.engine.requests.count == 2)
        #expect(try await world.kept(conversation ?? "default").count == 4)
        let after = await world.restarted()
        #expect(try await after.ask(World.request("one", to: conversation, key: "k1")).text == first.text)
    }

    @Test("The key is the caller's own", arguments: World.StoreKind.allCases)
    func keysOfOthers(kind: World.StoreKind) async throws {
        let world = await World(try await kind.make())
        try await world.ask(World.request("one", key: "k1"), as: Owner(name: "ann"))
        #expect(try await world.ask(World.request("one", key: "k1"), as: Owner(name: "bob")).text == "answer 2")
    }

    @Test("A retry with the same last message is appended once", arguments: World.StoreKind.allCases)
    func retryCount(kind: World.StoreKind) async throws {
        let world = await World(try await kind.make())
        let first = try await world.ask(World.request("one"))
        let again = try await world.ask(World.request("one", isRetry: true))
        #expect(again.text == first.text)
        #expect(try await world.kept().count == 2)
        let other = try await world.ask(World.request("two", isRetry: true))
        #expect(other.text == "answer 2")
        #expect(try await world.kept().count == 4)
    }

    @Test("The same message without a sign of a retry is asked again", arguments: World.StoreKind.allCases)
    func noRetry(kind: World.StoreKind) async throws {
        let world = await World(try await kind.make())
        try await world.ask(World.request("one"))
        #expect(try await world.ask(World.request("one")).text == "answer 2")
        #expect(try await world.kept().count == 4)
    }

    @Test("A sent history is retried once too", arguments: World.StoreKind.allCases, ["k1", nil] as [String?])
    func managedRetry(kind: World.StoreKind, key: String?) async throws {
        let world = await World(try await kind.make())
        let first = try await world.ask(World.request("hi", "hello", "one", key: key))
        let again = try await world.ask(World.request("hi", "hello", "one", key: key, isRetry: key == nil))
        #expect(again.events == first.events)
        #expect(again.conversation == first.conversation)
        #expect(world.engine.requests.count == 1)
    }

    @Test(
        "Asking for another answer to the same history gives a sibling; the question stands once",
        arguments: World.StoreKind.allCases, [nil, "k2"] as [String?])
    func regenerate(kind: World.StoreKind, key: String?) async throws {
        let world = await World(try await kind.make())
        let first = try await world.ask(World.request("hi", "hello", "one", key: key == nil ? nil : "k1"))
        let second = try await world.ask(World.request("hi", "hello", "one", key: key))
        #expect(second.text == "answer 2")
        #expect(second.conversation == first.conversation)
        let id = try #require(first.conversation)
        #expect(
            try await world.kept(id.rawValue)
                == ["user:hi", "assistant:hello", "user:one", "assistant:answer 1", "assistant:answer 2"])
        #expect(try await world.node.conversation(id, of: .local).branches == 2)
        // The later answer is the one that the conversation goes on from.
        try await world.ask(World.request("more", to: id.rawValue))
        #expect(world.engine.prompt == ["hi", "hello", "one", "answer 2", "more"])
    }

    @Test(
        "A question that got an empty answer can be asked again in the same words", arguments: World.StoreKind.allCases)
    func emptyAnswer(kind: World.StoreKind) async throws {
        let world = await World(try await kind.make())
        world.engine.will(.finish())
        try await world.ask(World.request("one"))
        let again = try await world.ask(World.request("one"))
        #expect(again.text == "answer 2")
        #expect(world.engine.prompt == ["one"])
        #expect(try await world.kept() == ["user:one", "assistant:", "assistant:answer 2"])
    }

    @Test("A question whose client left before the first word can be asked again in the same words")
    func abandonedQuestion() async throws {
        let store = MemoryStore()
        let world = await World(store)
        _ = try await world.node.answer(World.request("one"), caller: .local)
        // The question and the aborted answer.
        await store.waitForCommits(2)
        let again = try await world.ask(World.request("one"))
        #expect(again.text == "answer 2")
        #expect(world.engine.prompt == ["one"])
        #expect(try await world.kept().filter { $0 == "user:one" }.count == 1)
    }

    @Test(
        "A retry of a question whose answer was cut off is answered anew, and the whole answer counts",
        arguments: World.StoreKind.allCases)
    func afterFailure(kind: World.StoreKind) async throws {
        let world = await World(try await kind.make())
        world.engine.will(.text("par"), .fail(RuntimeError(.engineFailed, "gone")))
        _ = try? await world.ask(World.request("one", key: "k1"))
        let again = try await world.ask(World.request("one", key: "k1"))
        #expect(again.text == "answer 2")
        #expect(try await world.kept() == ["user:one", "assistant:par(failed)", "assistant:answer 2"])
        try await world.ask(World.request("two"))
        #expect(world.engine.prompt == ["one", "answer 2", "two"])
    }

    @Test(
        "A retry of a request that failed before it was written is a new turn, though the last one said the same",
        arguments: World.StoreKind.allCases, [nil, "k2"] as [String?])
    func retryOfUnwritten(kind: World.StoreKind, key: String?) async throws {
        let world = await World(try await kind.make())
        try await world.ask(World.request("next", key: key == nil ? nil : "k1"))
        world.engine.will(.fail(RuntimeError(.overloaded, "try later")))
        world.engine.will(.fail(RuntimeError(.overloaded, "try later")))
        for isRetry in [false, true] {
            await #expect { try await world.ask(World.request("next", key: key, isRetry: isRetry)) } throws: {
                ($0 as? RuntimeError)?.code == .overloaded
            }
        }
        let third = try await world.ask(World.request("next", key: key, isRetry: true))
        #expect(third.text == "answer 4")
        #expect(try await world.kept() == ["user:next", "assistant:answer 1", "user:next", "assistant:answer 4"])
        // Now it stands: a further retry is one of it.
        #expect(try await world.ask(World.request("next", key: key, isRetry: true)).text == "answer 4")
    }

    @Test("A failed retry of a request that stands does not make it stand twice", arguments: World.StoreKind.allCases)
    func failedRetry(kind: World.StoreKind) async throws {
        let world = await World(try await kind.make())
        world.engine.will(.text("par"), .fail(RuntimeError(.engineFailed, "gone")))
        _ = try? await world.ask(World.request("one"))
        world.engine.will(.fail(RuntimeError(.unavailable, "starting")))
        _ = try? await world.ask(World.request("one", isRetry: true))
        #expect(try await world.ask(World.request("one", isRetry: true)).text == "answer 3")
        #expect(try await world.kept().filter { $0 == "user:one" }.count == 1)
    }

    @Test("A retry that wants several answers gets as many", arguments: World.StoreKind.allCases)
    func severalAnswers(kind: World.StoreKind) async throws {
        let world = await World(try await kind.make())
        try await world.ask(World.request("one", key: "k", choices: 2))
        let again = try await world.ask(World.request("one", key: "k", choices: 2))
        let finished = again.events.filter { if case .finished = $0 { true } else { false } }
        #expect(finished.count == 2)
        #expect(try await world.kept().filter { $0 == "user:one" }.count == 1)
    }

    @Test(
        "The same request twice at once is answered once, and both clients read it", arguments: World.StoreKind.allCases
    )
    func atOnce(kind: World.StoreKind) async throws {
        let world = await World(try await kind.make())
        let gate = Gate()
        world.engine.will(.text("a"), .wait(gate), .text("b"), .finish())
        let first = try await world.node.answer(World.request("one", key: "k"), caller: .local)
        let second = try await world.node.answer(World.request("one", key: "k"), caller: .local)
        let other = try await world.node.answer(World.request("one", key: "k"), caller: Owner(name: "ann"))
        gate.open()
        var texts: [String] = []
        for answer in [first, second, other] {
            var text = ""
            for try await event in answer.events { if case .text(_, let piece) = event { text += piece } }
            texts.append(text)
        }
        #expect(texts == ["ab", "ab", "answer 2"])
        #expect(world.engine.requests.count == 2)
        #expect(try await world.kept() == ["user:one", "assistant:ab"])
        try await world.ask(World.request("two"))
        #expect(world.engine.prompt == ["one", "ab", "two"])
    }

    @Test("Of two clients with one request one may go: the other reads on; when both have gone the engine stops")
    func oneLeaves() async throws {
        let world = await World()
        let gate = Gate()
        world.engine.will(.text("a"), .wait(gate), .text("b"), .finish())
        let stays = try await world.node.answer(World.request("one", key: "k"), caller: .local)
        try await Self.readOne(of: try await world.node.answer(World.request("one", key: "k"), caller: .local))
        gate.open()
        var text = ""
        for try await event in stays.events { if case .text(_, let piece) = event { text += piece } }
        #expect(text == "ab")
        world.engine.will(.text("c"), .hang)
        let answers = [
            try await world.node.answer(World.request("two", key: "l"), caller: .local),
            try await world.node.answer(World.request("two", key: "l"), caller: .local),
        ]
        let clients = answers.map { answer in Task { for try await _ in answer.events {} } }
        for client in clients { client.cancel() }
        for client in clients { _ = await client.result }
        await Self.letGo(answers)
        await world.engine.stopped.wait()
    }

    private static func letGo(_ answers: consuming [ChatAnswer]) async {}

    private static func readOne(of answer: ChatAnswer) async throws {
        for try await _ in answer.events { return }
    }

    @Test("A request that fails fails for both, and is asked anew afterwards")
    func failsForBoth() async throws {
        let world = await World()
        world.engine.will(.fail(RuntimeError(.overloaded, "try later")))
        await #expect { try await world.ask(World.request("one", key: "k")) } throws: {
            ($0 as? RuntimeError)?.code == .overloaded
        }
        #expect(try await world.ask(World.request("one", key: "k")).text == "answer 2")
    }
}
