import Core
import Node
import Testing

/// How an answer travels, ends and fails.
@Suite struct AnswerTests {
    private static let gone = RuntimeError(.engineFailed, "the engine has gone")

    @Test("The pieces come as the engine writes them, then the end with its counts")
    func events() async throws {
        let world = await World()
        world.engine.will(.text("Hel"), .text("lo"), .finish(.length))
        let reply = try await world.ask(World.request("one"))
        #expect(
            reply.events == [
                .text(choice: 0, "Hel"), .text(choice: 0, "lo"),
                .finished(choice: 0, reason: .length, usage: TokenUsage(promptTokens: 5, completionTokens: 3)),
            ])
        #expect(reply.context.promptTokens == 2 + 4 + 3)
        #expect(reply.context.included == 1)
    }

    @Test("An engine that fails before its first token leaves nothing written", arguments: World.StoreKind.allCases)
    func failsAtOnce(kind: World.StoreKind) async throws {
        let world = await World(try await kind.make())
        world.engine.will(.fail(Self.gone))
        await #expect { try await world.node.answer(World.request("one"), caller: .local) } throws: {
            ($0 as? RuntimeError)?.code == .engineFailed
        }
        world.engine.will()
        await #expect { try await world.node.answer(World.request("one"), caller: .local) } throws: {
            ($0 as? RuntimeError)?.code == .engineFailed
        }
        #expect(try await world.node.storeStatistics().operations == 0)
        try await world.ask(World.request("two"))
        #expect(world.engine.prompt == ["two"])
    }

    @Test(
        "An engine that fails in mid-answer leaves the part as failed", arguments: World.StoreKind.allCases,
        [true, false])
    func failsLater(kind: World.StoreKind, withError: Bool) async throws {
        let world = await World(try await kind.make())
        if withError { world.engine.will(.text("par"), .fail(Self.gone)) } else { world.engine.will(.text("par")) }
        var read = ""
        await #expect {
            for try await event in try await world.node.answer(World.request("one"), caller: .local).events {
                if case .text(_, let piece) = event { read += piece }
            }
        } throws: {
            ($0 as? RuntimeError)?.code == .engineFailed
        }
        #expect(read == "par")
        #expect(try await world.kept() == ["user:one", "assistant:par(failed)"])
        try await world.ask(World.request("two"))
        #expect(world.engine.prompt == ["one", "par", "two"])
    }

    @Test("A client that goes away stops the engine; the part is kept as aborted")
    func leaves() async throws {
        let store = MemoryStore()
        let world = await World(store)
        world.engine.will(.text("par"), .hang)
        try await Self.readOne(of: try await world.node.answer(World.request("one"), caller: .local))
        await world.engine.stopped.wait()
        await store.waitForCommits(2)
        #expect(try await world.kept() == ["user:one", "assistant:par(aborted)"])
    }

    private static func readOne(of answer: ChatAnswer) async throws {
        for try await _ in answer.events { return }
    }

    @Test("A reader whose task is cancelled stops the engine; the part is kept as aborted")
    func cancelled() async throws {
        let store = MemoryStore()
        let world = await World(store)
        world.engine.will(.text("par"), .hang)
        let hasRead = Gate()
        let node = world.node
        let reader = Task {
            for try await _ in try await node.answer(World.request("one"), caller: .local).events { hasRead.open() }
        }
        await hasRead.wait()
        reader.cancel()
        _ = await reader.result
        await world.engine.stopped.wait()
        await store.waitForCommits(2)
        #expect(try await world.kept() == ["user:one", "assistant:par(aborted)"])
    }

    @Test("A client that goes away before the first token leaves nothing written")
    func cancelledEarly() async throws {
        let world = await World()
        world.engine.will(.hang)
        let node = world.node
        let reader = Task { _ = try await node.answer(World.request("one"), caller: .local) }
        reader.cancel()
        await #expect(throws: CancellationError.self) { try await reader.value }
        #expect(try await world.node.storeStatistics().operations == 0)
    }

    @Test("The end is told only once the answer is on disk")
    func acknowledged() async throws {
        let store = MemoryStore()
        let world = await World(store)
        let gate = Gate()
        await store.hold(2, until: gate)
        let seen = Record<ChatEvent>()
        let node = world.node
        let reader = Task {
            for try await event in try await node.answer(World.request("one"), caller: .local).events {
                seen.append(event)
            }
        }
        await store.waitForBegun(2)
        #expect(seen.all == [.text(choice: 0, "answer 1")])
        gate.open()
        try await reader.value
        #expect(seen.all.count == 2)
        #expect(await store.commits == 2)
    }

    @Test("An answer has begun only once its question is on disk; a question that cannot be written is a plain error")
    func question() async throws {
        let store = MemoryStore()
        let world = await World(store)
        await store.refuse(1, with: RuntimeError(.system, "the disk is full"))
        await #expect { try await world.node.answer(World.request("one"), caller: .local) } throws: {
            ($0 as? RuntimeError)?.code == .system
        }
        #expect(try await store.everything.isEmpty)
        let gate = Gate()
        await store.hold(2, until: gate)
        let begun = Record<Bool>()
        let node = world.node
        let reader = Task {
            let answer = try await node.answer(World.request("two"), caller: .local)
            begun.append(true)
            for try await _ in answer.events {}
        }
        await store.waitForBegun(2)
        #expect(begun.all.isEmpty)
        gate.open()
        try await reader.value
        #expect(try await world.kept() == ["user:two", "assistant:answer 2"])
    }

    @Test("A commit that the disk refuses is an error; what comes next is written in a new epoch")
    func refusedCommit() async throws {
        let store = MemoryStore()
        let world = await World(store)
        try await world.ask(World.request("one"))
        // The answer, what is kept of it as failed, and the conversation's row that is put right.
        for number in 4...6 { await store.refuse(number, with: RuntimeError(.system, "the disk is full")) }
        await #expect { try await world.ask(World.request("two")) } throws: { ($0 as? RuntimeError)?.code == .system }
        try await world.ask(World.request("three"))
        #expect(
            try await world.kept()
                == ["user:one", "assistant:answer 1", "user:two", "user:three", "assistant:answer 3"])
        let epochs = try await store.everything.map(\.dot.origin.epoch)
        #expect(Set(epochs).count == 2)
        #expect(Set(try await store.everything.map(\.dot)).count == 6)
        let again = await world.restarted()
        try await again.ask(World.request("four"))
        #expect(again.engine.prompt == ["one", "answer 1", "two", "three", "answer 3", "four"])
    }

    @Test(
        "A store whose key is wrong: bare requests are answered without memory, named ones are unavailable",
        arguments: [RuntimeError.Code.wrongKey, .corrupt])
    func locked(code: RuntimeError.Code) async throws {
        let store = MemoryStore()
        await store.lock(RuntimeError(code, "set mcp.encryption_key to the key of before"))
        let world = await World(store)
        for request in [World.request("one"), World.request("hi", "hello", "one"), World.request("one", off: true)] {
            let reply = try await world.ask(request)
            #expect(reply.conversation == nil)
            #expect(reply.text.hasPrefix("answer"))
            #expect(world.engine.prompt == request.messages.map(\.text))
        }
        await #expect { try await world.ask(World.request("one", to: "c")) } throws: {
            ($0 as? RuntimeError)?.code == .unavailable && "\($0)".contains("mcp.encryption_key")
        }
        let readiness = await world.node.readiness()
        #expect(!readiness.isReady)
        #expect(readiness.reasons.contains { $0.contains("mcp.encryption_key") })
        #expect(await store.begun == 0)
    }

    @Test("Readiness tells what each model lacks")
    func readiness() async {
        let world = await World()
        #expect(await world.node.readiness() == Readiness(isReady: true, reasons: []))
        world.engine.become(.quarantined(reason: "it crashed 3 times", retryAt: 5))
        let readiness = await world.node.readiness()
        #expect(!readiness.isReady)
        #expect(readiness.reasons.contains { $0.contains("it crashed 3 times") })
        #expect(await world.node.models().first?.state.word == "quarantined")
    }

    @Test(
        "Several answers come one after the other; the conversation keeps the first",
        arguments: World.StoreKind.allCases)
    func choices(kind: World.StoreKind) async throws {
        let world = await World(try await kind.make())
        var request = World.request("one", choices: 3)
        request.sampling.seed = 7
        let reply = try await world.ask(request)
        let choices = reply.events.map { event in
            switch event {
            case .text(let choice, let text): "\(choice) \(text)"
            case .finished(let choice, _, _): "\(choice) ends"
            default: "something else"
            }
        }
        #expect(choices == ["0 answer 1", "0 ends", "1 answer 2", "1 ends", "2 answer 3", "2 ends"])
        #expect(try await world.kept() == ["user:one", "assistant:answer 1"])
        // One seed would give the same answer three times.
        #expect(world.engine.requests.map(\.sampling.seed) == [7, 8, 9])
        #expect(Set(world.engine.requests.map(\.messages)).count == 1)
    }

    @Test("A failure in a further answer is an error; the first one is kept as it was")
    func laterChoiceFails() async throws {
        let world = await World()
        world.engine.will(.text("whole"), .finish())
        world.engine.will(.text("par"), .fail(Self.gone))
        await #expect(throws: RuntimeError.self) { try await world.ask(World.request("one", choices: 2)) }
        #expect(try await world.kept() == ["user:one", "assistant:whole"])
    }

    @Test(
        "What the engine does not support is refused by its name",
        arguments: [
            ("top_p", Sampling(topP: 0.5)), ("top_k", Sampling(topK: 3)), ("min_p", Sampling(minP: 0.1)),
            ("presence_penalty", Sampling(presencePenalty: 1)), ("frequency_penalty", Sampling(frequencyPenalty: -1)),
        ])
    func sampling(name: String, sampling: Sampling) async throws {
        let world = await World()
        var request = World.request("one")
        request.sampling = sampling
        await #expect { try await world.ask(request) } throws: {
            ($0 as? RuntimeError)?.code == .invalidRequest && ($0 as? RuntimeError)?.parameter == name
        }
        request.sampling = Sampling(temperature: 0.5, seed: 1, presencePenalty: 0, frequencyPenalty: 0)
        try await world.ask(request)
        #expect(try await world.kept().count == 2)
    }

    @Test("A model is found by its name and its alias; another is not, and the message lists what there is")
    func models() async throws {
        let world = await World()
        var request = World.request("one")
        request.model = "alias"
        #expect(try await world.node.answer(request, caller: .local).model == "m")
        request.model = "gpt-x"
        await #expect { try await world.ask(request) } throws: {
            ($0 as? RuntimeError)?.code == .modelNotFound && "\($0)".contains("m, alias")
        }
    }

    @Test("A turn that cannot fit is refused, and nothing of it is written")
    func tooLong() async throws {
        let world = await World(engine: ScriptedEngine(contextLength: 100))
        await #expect { try await world.ask(World.request(String(repeating: "x", count: 200))) } throws: {
            ($0 as? RuntimeError)?.code == .contextLengthExceeded
        }
        #expect(try await world.node.storeStatistics().operations == 0)
    }

    @Test("What was left out of the prompt is reported")
    func omitted() async throws {
        let world = await World(engine: ScriptedEngine(contextLength: 200))
        var reported = 0
        for turn in 0..<12 { reported = try await world.ask(World.request("question \(turn)")).context.omitted }
        #expect(reported > 0)
        #expect(world.engine.requests.last?.messages.count == 23 - reported)
        #expect(try await world.kept().count == 24)
    }

    @Test("A host has settled only once the part of an abandoned answer is on disk")
    func settles() async throws {
        let store = MemoryStore()
        let world = await World(store)
        await world.node.settle()
        let gate = Gate()
        await store.hold(2, until: gate)
        world.engine.will(.text("par"), .hang)
        try await Self.readOne(of: try await world.node.answer(World.request("one"), caller: .local))
        let order = Record<String>()
        let node = world.node
        let settled = Task {
            await node.settle()
            order.append("settled")
        }
        await store.waitForBegun(2)
        order.append("released")
        gate.open()
        await settled.value
        #expect(order.all == ["released", "settled"])
        #expect(try await world.kept() == ["user:one", "assistant:par(aborted)"])
    }
}
