import Core
import Node
import Testing

/// The ways of continuing a conversation (design.md §3).
@Suite struct ContinuationTests {
    @Test("Two bare requests know each other", arguments: World.StoreKind.allCases)
    func bare(kind: World.StoreKind) async throws {
        let world = await World(try await kind.make())
        let first = try await world.ask(World.request("my name is Alice"))
        #expect(world.engine.prompt == ["my name is Alice"])
        let second = try await world.ask(World.request("what is my name?"))
        #expect(world.engine.prompt == ["my name is Alice", "answer 1", "what is my name?"])
        #expect(first.conversation == ConversationID("default"))
        #expect(second.conversation == first.conversation)
        #expect(second.text == "answer 2")
        #expect(
            try await world.kept()
                == ["user:my name is Alice", "assistant:answer 1", "user:what is my name?", "assistant:answer 2"])
    }

    @Test("A host that starts again still knows it", arguments: World.StoreKind.allCases)
    func restart(kind: World.StoreKind) async throws {
        let world = await World(try await kind.make())
        try await world.ask(World.request("my name is Alice"))
        let again = await world.restarted()
        try await again.ask(World.request("what is my name?"))
        #expect(again.engine.prompt == ["my name is Alice", "answer 1", "what is my name?"])
        #expect(try await again.kept().count == 4)
    }

    @Test("A named conversation has its own history", arguments: World.StoreKind.allCases)
    func explicit(kind: World.StoreKind) async throws {
        let world = await World(try await kind.make())
        try await world.ask(World.request("in the default one"))
        let named = try await world.ask(World.request("in c", to: "c"))
        #expect(named.conversation?.rawValue == "c")
        #expect(world.engine.prompt == ["in c"])
        try await world.ask(World.request("again in c", to: "c"))
        #expect(world.engine.prompt == ["in c", "answer 2", "again in c"])
        #expect(try await world.kept("c").count == 4)
        #expect(try await world.kept().count == 2)
    }

    @Test("A named conversation takes what is new of a history that is sent again", arguments: World.StoreKind.allCases)
    func explicitWithHistory(kind: World.StoreKind) async throws {
        let world = await World(try await kind.make())
        try await world.ask(World.request("one", to: "c"))
        try await world.ask(World.request("one", "answer 1", "two", to: "c"))
        #expect(world.engine.prompt == ["one", "answer 1", "two"])
        #expect(try await world.kept("c") == ["user:one", "assistant:answer 1", "user:two", "assistant:answer 2"])
    }

    @Test(
        "A history that the client sends is the whole prompt; nothing is injected", arguments: World.StoreKind.allCases)
    func clientManaged(kind: World.StoreKind) async throws {
        let world = await World(try await kind.make())
        try await world.ask(World.request("my name is Alice"))
        let reply = try await world.ask(World.request("hi", "hello", "who am I?"))
        #expect(world.engine.prompt == ["hi", "hello", "who am I?"])
        let id = try #require(reply.conversation)
        #expect(id != ConversationID("default"))
        #expect(
            try await world.kept(id.rawValue)
                == ["user:hi", "assistant:hello", "user:who am I?", "assistant:answer 2"])
    }

    @Test("A client that sends everything again adds only what is new", arguments: World.StoreKind.allCases)
    func clientManagedGrows(kind: World.StoreKind) async throws {
        let world = await World(try await kind.make())
        let first = try await world.ask(World.request("hi", "hello", "one", system: "be brief"))
        let second = try await world.ask(World.request("hi", "hello", "one", first.text, "two", system: "be long"))
        // White space around a text is the client's to trim.
        let third = try await world.ask(
            World.request("hi", "hello", "one", first.text + "\n", "two", " " + second.text, "three"))
        #expect(second.conversation == first.conversation)
        #expect(third.conversation == first.conversation)
        let id = try #require(first.conversation)
        #expect(
            try await world.kept(id.rawValue) == [
                "system:be brief", "user:hi", "assistant:hello", "user:one", "assistant:answer 1", "user:two",
                "assistant:answer 2", "user:three", "assistant:answer 3",
            ])
    }

    @Test(
        "A client that began with one message and then sends its history stays in the same conversation",
        arguments: World.StoreKind.allCases)
    func bareThenManaged(kind: World.StoreKind) async throws {
        let world = await World(try await kind.make())
        let first = try await world.ask(World.request("hi"))
        let second = try await world.ask(World.request("hi", first.text, "more"))
        #expect(second.conversation == first.conversation)
        #expect(world.engine.prompt == ["hi", "answer 1", "more"])
        #expect(try await world.kept().count == 4)
    }

    @Test("A history that parts from the known one becomes a branch of it", arguments: World.StoreKind.allCases)
    func clientManagedFork(kind: World.StoreKind) async throws {
        let world = await World(try await kind.make())
        let first = try await world.ask(World.request("hi", "hello", "one"))
        let fork = try await world.ask(World.request("hi", "hello", "two"))
        #expect(fork.conversation == first.conversation)
        let view = try await world.node.conversation(try #require(first.conversation), of: .local)
        #expect(view.branches == 2)
        #expect(view.turns.count == 6)
    }

    @Test("With store:false nothing is recalled or kept", arguments: World.StoreKind.allCases)
    func off(kind: World.StoreKind) async throws {
        let world = await World(try await kind.make())
        try await world.ask(World.request("my name is Alice"))
        let before = try await world.node.storeStatistics().operations
        let reply = try await world.ask(World.request("who am I?", off: true))
        #expect(world.engine.prompt == ["who am I?"])
        #expect(reply.conversation == nil)
        try await world.ask(World.request("hi", "hello", "who am I?", off: true))
        #expect(world.engine.prompt == ["hi", "hello", "who am I?"])
        #expect(try await world.node.storeStatistics().operations == before)
    }

    @Test(
        "Without a default conversation nothing is recalled or kept unless one is named",
        arguments: World.StoreKind.allCases)
    func defaultOff(kind: World.StoreKind) async throws {
        let world = await World(try await kind.make(), policy: .named)
        let bare = try await world.ask(World.request("one"))
        let managed = try await world.ask(World.request("one", "answer 1", "two"))
        #expect(bare.conversation == nil)
        #expect(managed.conversation == nil)
        #expect(world.engine.prompt == ["one", "answer 1", "two"])
        #expect(try await world.node.storeStatistics().operations == 0)
        let named = try await world.ask(World.request("three", to: "c"))
        #expect(named.conversation?.rawValue == "c")
        #expect(try await world.kept("c").count == 2)
    }

    @Test("The user field tells default conversations apart", arguments: World.StoreKind.allCases)
    func users(kind: World.StoreKind) async throws {
        let world = await World(try await kind.make())
        let ann = try await world.ask(World.request("I am Ann", user: "ann"))
        let bob = try await world.ask(World.request("who am I?", user: "bob"))
        #expect(world.engine.prompt == ["who am I?"])
        #expect(ann.conversation != bob.conversation)
        try await world.ask(World.request("who am I?", user: "ann"))
        #expect(world.engine.prompt.first == "I am Ann")
    }

    @Test(
        "Nobody reaches another owner's conversation, whatever id or history they send",
        arguments: World.StoreKind.allCases)
    func owners(kind: World.StoreKind) async throws {
        let world = await World(try await kind.make())
        let (ann, bob) = (Owner(name: "key-ann"), Owner(name: "key-bob"))
        try await world.ask(World.request("secret of ann", to: "c"), as: ann)
        try await world.ask(World.request("hello", to: "c"), as: bob)
        #expect(world.engine.prompt == ["hello"])
        let managed = try await world.ask(World.request("secret of ann", "answer 1", "go on"), as: ann)
        #expect(managed.conversation?.rawValue == "c")
        let copied = try await world.ask(World.request("secret of ann", "answer 1", "go on"), as: bob)
        #expect(copied.conversation?.rawValue != "c")
        try await world.ask(World.request("default?"), as: bob)
        #expect(world.engine.prompt == ["default?"])
        await #expect { try await world.kept("c", of: .local) } throws: { ($0 as? RuntimeError)?.code == .notFound }
        #expect(try await world.node.conversations(of: ann, limit: 10).count == 1)
        #expect(try await world.node.conversations(of: .local, limit: 10).isEmpty)
    }

    @Test(
        "Instructions stand first and hold in a named conversation until others are given",
        arguments: World.StoreKind.allCases)
    func instructions(kind: World.StoreKind) async throws {
        let world = await World(try await kind.make())
        try await world.ask(World.request("one", to: "c", system: "be brief"))
        #expect(world.engine.prompt == ["be brief", "one"])
        try await world.ask(World.request("two", to: "c"))
        #expect(world.engine.prompt == ["be brief", "one", "answer 1", "two"])
        try await world.ask(World.request("three", to: "c", system: "be long"))
        #expect(world.engine.prompt.first == "be long")
        #expect(world.engine.prompt.filter { $0.hasPrefix("be ") }.count == 1)
        #expect(
            try await world.kept("c").filter { $0.hasPrefix("system:") } == ["system:be brief", "system:be long"])
    }

    @Test("Instructions of a bare request hold for that request only", arguments: World.StoreKind.allCases)
    func bareInstructions(kind: World.StoreKind) async throws {
        let world = await World(try await kind.make())
        try await world.ask(World.request("one", system: "talk like a pirate"))
        #expect(world.engine.prompt == ["talk like a pirate", "one"])
        try await world.ask(World.request("two"))
        #expect(world.engine.prompt == ["one", "answer 1", "two"])
    }

    @Test(
        "A request must end with a message of a user",
        arguments: [
            [Message(.system, "s")], [Message(.user, "q"), Message(.assistant, "a"), Message(.system, "s")],
            [Message(.assistant, "a")],
        ])
    func noQuestion(messages: [Message]) async throws {
        let world = await World()
        for continuation in [ChatRequest.Continuation.automatic, .off] {
            await #expect {
                try await world.ask(ChatRequest(model: "m", messages: messages, continuation: continuation))
            } throws: {
                ($0 as? RuntimeError)?.code == .invalidRequest && ($0 as? RuntimeError)?.parameter == "messages"
            }
        }
        #expect(try await world.node.storeStatistics().operations == 0)
        #expect(world.engine.requests.isEmpty)
    }

    @Test(
        "A greeting in a history that was sent is part of the conversation when it is named later",
        arguments: World.StoreKind.allCases)
    func greeting(kind: World.StoreKind) async throws {
        let world = await World(try await kind.make())
        let messages = [Message(.assistant, "welcome"), Message(.user, "hi")]
        let reply = try await world.ask(ChatRequest(model: "m", messages: messages))
        try await world.ask(World.request("more", to: try #require(reply.conversation).rawValue))
        #expect(world.engine.prompt == ["welcome", "hi", "answer 1", "more"])
    }

    @Test("A first message alone is no history that could be recognised: no row is kept for it")
    func noRowForFirst() async throws {
        let store = MemoryStore()
        let world = await World(store)
        try await world.ask(World.request("hi"))
        #expect(await store.prefixCount == 1)
        try await world.ask(World.request("hi", "answer 1", "more"))
        #expect(await store.prefixCount == 3)
    }

    @Test("Switched off, every request stands alone, a named one too", arguments: World.StoreKind.allCases)
    func never(kind: World.StoreKind) async throws {
        let world = await World(try await kind.make())
        try await world.ask(World.request("before", to: "c"))
        let off = await world.restarted(policy: .never)
        let before = try await off.node.storeStatistics().operations
        for request in [World.request("one"), World.request("one", to: "c"), World.request("a", "b", "c")] {
            let reply = try await off.ask(request)
            #expect(reply.conversation == nil)
            #expect(off.engine.prompt == request.messages.map(\.text))
        }
        #expect(try await off.node.storeStatistics().operations == before)
        await #expect(throws: RuntimeError.self) { try await off.kept("c") }
    }

    @Test(
        "A named conversation recognises its history also where the client trimmed it",
        arguments: World.StoreKind.allCases)
    func explicitTrimmed(kind: World.StoreKind) async throws {
        let world = await World(try await kind.make())
        world.engine.will(.text(" hello \n"), .finish())
        try await world.ask(World.request("hi", to: "c"))
        try await world.ask(World.request("hi", "hello", "more", to: "c"))
        #expect(world.engine.prompt == ["hi", " hello \n", "more"])
        #expect(try await world.kept("c").count == 4)
    }

    @Test(
        "Another answer in a named conversation is asked by sending its history up to the question",
        arguments: World.StoreKind.allCases)
    func explicitRegenerate(kind: World.StoreKind) async throws {
        let world = await World(try await kind.make())
        try await world.ask(World.request("one", to: "c"))
        try await world.ask(World.request("two", to: "c"))
        let again = try await world.ask(World.request("one", "answer 1", "two", to: "c"))
        #expect(again.text == "answer 3")
        #expect(world.engine.prompt == ["one", "answer 1", "two"])
        #expect(try await world.kept("c").count == 5)
        #expect(try await world.kept("c").last == "assistant:answer 3")
        // Said to be a retry, it is one.
        let retried = try await world.ask(World.request("one", "answer 1", "two", to: "c", isRetry: true))
        #expect(retried.text == "answer 3")
        try await world.ask(World.request("three", to: "c"))
        #expect(world.engine.prompt == ["one", "answer 1", "two", "answer 3", "three"])
    }

    @Test(
        "A changed question in a named conversation is a branch from where the histories part",
        arguments: World.StoreKind.allCases)
    func explicitFork(kind: World.StoreKind) async throws {
        let world = await World(try await kind.make())
        try await world.ask(World.request("one", to: "c"))
        try await world.ask(World.request("two", to: "c"))
        try await world.ask(World.request("one", "answer 1", "other", to: "c"))
        #expect(world.engine.prompt == ["one", "answer 1", "other"])
        let view = try await world.node.conversation(try #require(ConversationID("c")), of: .local)
        #expect(view.turns.count == 6)
        #expect(view.branches == 2)
    }
}
