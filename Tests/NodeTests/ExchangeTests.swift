import Core
import Node
import Testing

/// Exchanges that are named by their question: continued, branched, fetched and deleted, here and elsewhere.
@Suite(.timeLimit(.minutes(1))) struct ExchangeTests {
    private static func request(
        _ text: String, _ continuation: ChatRequest.Continuation, key: String? = nil, isRetry: Bool = false
    ) -> ChatRequest {
        var request = ChatRequest(
            model: "m", messages: [Message(.user, text)], continuation: continuation, idempotencyKey: key,
            isRetry: isRetry)
        request.asksAnew = true
        request.annotation = ["note": .string(text)]
        return request
    }

    /// Asks, reads the answer to its end, and returns the question's dot.
    @discardableResult
    private static func ask(_ world: World, _ request: ChatRequest) async throws -> Dot {
        let answer = try await world.node.answer(request, caller: .local)
        for try await _ in answer.events {}
        return try #require(answer.question)
    }

    /// Asks five times, each after the other.
    private static func chain(_ world: World, _ count: Int = 5) async throws -> [Dot] {
        var dots = [try await ask(world, request("q1", .new))]
        for number in 2..<(count + 1) {
            dots.append(try await ask(world, request("q\(number)", .after(dots[number - 2]))))
        }
        return dots
    }

    @Test("A chain knows all of itself, a branch nothing of its neighbour", arguments: World.StoreKind.allCases)
    func chains(kind: World.StoreKind) async throws {
        let world = await World(try await kind.make())
        let dots = try await Self.chain(world)
        #expect(world.engine.prompt.count == 9 && world.engine.prompt.first == "q1")
        let branch = try await Self.ask(world, Self.request("other", .after(dots[1])))
        #expect(world.engine.prompt == ["q1", "answer 1", "q2", "answer 2", "other"])

        // Started again, it is found by nothing but its dot.
        let after = await world.restarted()
        try await Self.ask(after, Self.request("q6", .after(dots[4])))
        #expect(after.engine.prompt.count == 11 && !after.engine.prompt.contains("other"))
        try await Self.ask(after, Self.request("on", .after(branch)))
        #expect(after.engine.prompt == ["q1", "answer 1", "q2", "answer 2", "other", "answer 6", "on"])

        let kept = try await after.node.exchange(dots[2], of: .local)
        #expect(kept.question.turn.message.text == "q3" && kept.answer?.turn.message.text == "answer 3")
        #expect(kept.question.turn.annotation == ["note": "q3"] && kept.progress == .over)
        #expect(
            try await after.node.path(to: branch, of: .local).map(\.turn.message.text)
                == ["q1", "answer 1", "q2", "answer 2", "other"])
        await #expect { try await after.node.exchange(dots[2], of: Owner(name: "ann")) } throws: {
            ($0 as? RuntimeError)?.code == .notFound
        }
        #expect(try await after.node.exchanges(of: .local) { $0["note"] == "q4" }.map(\.question.dot) == [dots[3]])
    }

    @Test("A chain begun on one host goes on on the other, by the same dots", arguments: World.StoreKind.allCases)
    func hosts(kind: World.StoreKind) async throws {
        let pair = await Pair.make()
        await pair.link()
        let dots = try await Self.chain(pair.a)
        await pair.agree()
        await pair.unlink()
        try await Self.ask(pair.b, Self.request("q6", .after(dots[4])))
        #expect(pair.b.engine.prompt.count == 11)
        try await Self.ask(pair.b, Self.request("other", .after(dots[0])))
        #expect(pair.b.engine.prompt == ["q1", "answer 1", "other"])
        #expect(try await pair.b.node.exchange(dots[3], of: .local).answer?.turn.message.text == "answer 4")
    }

    @Test("What is deleted of an exchange is in no prompt and no store, and what followed stays")
    func deletion() async throws {
        let pair = await Pair.make()
        await pair.link()
        let dots = try await Self.chain(pair.a, 3)
        await pair.agree()
        try await pair.a.node.deleteExchange(dots[1], turns: 1, of: .local)
        await pair.agree()
        for world in [pair.a, pair.b] {
            await #expect(throws: RuntimeError.self) { try await world.node.exchange(dots[1], of: .local) }
            try await Self.ask(world, Self.request("next", .after(dots[2])))
            #expect(world.engine.prompt == ["q1", "answer 1", "q3", "answer 3", "next"])
            await pair.agree()
        }
        let id = try await pair.a.node.exchange(dots[0], of: .local).conversation
        let restarted = await pair.b.restarted()
        let views = [
            try await pair.a.node.conversation(id, of: .local), try await pair.b.node.conversation(id, of: .local),
            try await restarted.node.conversation(id, of: .local),
        ]
        #expect(views.allSatisfy { $0.digest == views[0].digest && $0.header == views[0].header })
        #expect(views[0].header.turns == 8 && views[0].turns.count == 8)
        for store in [pair.a.store, pair.b.store] {
            let memory = try #require(store as? MemoryStore)
            let everything = try await memory.everything
            #expect(everything.count { $0.flags.contains(.erased) } == 2)
        }
    }

    @Test(
        "A turn that is taken away on one host while the other goes on from it is gone on both, and what followed stays"
    )
    func early() async throws {
        let pair = await Pair.make()
        await pair.link()
        let dots = try await Self.chain(pair.a, 1)
        await pair.agree()
        await pair.unlink()
        // One takes the turn away that the other goes on from.
        try await pair.b.node.deleteExchange(dots[0], turns: 1, of: .local)
        try await Self.ask(pair.a, Self.request("q2", .after(dots[0])))
        await pair.link()
        try await pair.ticking { await pair.agree() }
        let views = [
            try await pair.a.node.conversations(of: .local, limit: 9),
            try await pair.b.node.conversations(of: .local, limit: 9),
        ]
        #expect(views[0] == views[1] && views[0].first?.turns == 2)
        #expect(try await pair.b.kept(try #require(views[0].first).id.rawValue) == ["user:q2", "assistant:answer 2"])
    }

    @Test("A question asked again gets its answer, with a key or without; a key with other words is refused")
    func retries() async throws {
        let world = await World()
        let first = try await Self.ask(world, Self.request("one", .new, key: "k"))
        #expect(try await Self.ask(world, Self.request("one", .new, key: "k")) == first)
        await #expect { try await Self.ask(world, Self.request("two", .new, key: "k")) } throws: {
            ($0 as? RuntimeError)?.parameter == "Idempotency-Key"
        }
        let plain = try await Self.ask(world, Self.request("plain", .new))
        #expect(try await Self.ask(world, Self.request("plain", .new, isRetry: true)) == plain)
        #expect(try await Self.ask(world, Self.request("plain", .new)) != plain)
        let next = try await Self.ask(world, Self.request("next", .after(first)))
        #expect(try await Self.ask(world, Self.request("next", .after(first), isRetry: true)) == next)
        #expect(try await Self.ask(world, Self.request("next", .after(first))) != next)
        #expect(world.engine.requests.count == 5)
    }

    @Test("Instructions for one answer are in its prompt and in no other; what is not kept is recalled from")
    func passing() async throws {
        let world = await World()
        var request = Self.request("one", .new)
        request.instructions = "be kind"
        let first = try await Self.ask(world, request)
        #expect(world.engine.prompt == ["be kind", "one"])
        var unkept = Self.request("two", .after(first))
        unkept.keeps = false
        let answer = try await world.node.answer(unkept, caller: .local)
        for try await _ in answer.events {}
        #expect(answer.question == nil && world.engine.prompt == ["one", "answer 1", "two"])
        try await Self.ask(world, Self.request("three", .after(first)))
        #expect(world.engine.prompt == ["one", "answer 1", "three"])
    }

    @Test("A conversation is described, filled by hand, and loses single turns")
    func described() async throws {
        let world = await World()
        let id = try #require(ConversationID("c"))
        _ = try await world.node.describe(id, metadata: ["a": "1"], of: .local)
        let turns = try await world.node.append(
            [Message(.user, "hi"), Message(.assistant, "hello"), Message(.user, "secret")], to: id, of: .local)
        #expect(turns.map(\.turn.message.text) == ["hi", "hello", "secret"])
        let again = try await world.node.describe(id, metadata: ["a": "2"], of: .local)
        #expect(again.metadata == ["a": "2"])
        try await world.node.deleteTurn(turns[2].dot, of: id, of: .local)
        #expect(try await world.kept("c") == ["user:hi", "assistant:hello"])
        try await world.ask(World.request("go on", to: "c"))
        #expect(world.engine.prompt == ["hi", "hello", "go on"])
        let after = await world.restarted()
        #expect(try await after.node.record(of: id, of: .local).metadata == ["a": "2"])
        #expect(try await after.node.exchanges(in: id, of: .local).count == 2)
        try await after.node.deleteConversation(id, of: .local)
        await #expect(throws: RuntimeError.self) { try await after.node.record(of: id, of: .local) }
    }

    @Test("An answer in the background is written without a reader, or stopped")
    func background() async throws {
        let world = await World()
        let gate = Gate()
        world.engine.will(.wait(gate), .text("done"), .finish())
        var request = Self.request("work", .new)
        request.runsInBackground = true
        let answer = try await world.node.answer(request, caller: .local)
        let question = try #require(answer.question)
        #expect(try await world.node.exchange(question, of: .local).progress == .running)
        await #expect(throws: RuntimeError.self) { try await Self.ask(world, Self.request("and?", .after(question))) }
        gate.open()
        // Whoever wants it live reads along.
        var texts: [ChatEvent] = []
        for try await event in answer.events { texts.append(event) }
        #expect(texts.first == .text(choice: 0, "done"))
        let kept = try await world.node.exchange(question, of: .local)
        #expect(kept.progress == .over && kept.answer?.turn.message.text == "done")

        world.engine.will(.text("half"), .hang)
        request.messages = [Message(.user, "more work")]
        let endless = try #require(try await world.node.answer(request, caller: .local).question)
        #expect(try await world.node.cancelAnswer(to: endless, of: .local))
        await world.engine.stopped.wait()
        let stopped = try await world.node.exchange(endless, of: .local)
        #expect(stopped.progress == .over && stopped.answer?.turn.outcome?.finishReason == .aborted)
        #expect(try await !world.node.cancelAnswer(to: endless, of: .local))
    }

    @Test("An answer in the background is told again from its beginning, while it is written and after")
    func again() async throws {
        let world = await World()
        let gate = Gate()
        world.engine.will(.text("one "), .wait(gate), .text("two"), .finish())
        var request = Self.request("work", .new)
        request.runsInBackground = true
        let question = try #require(try await world.node.answer(request, caller: .local).question)
        func texts(_ answer: ChatAnswer?) async throws -> [ChatEvent] {
            var events: [ChatEvent] = []
            for try await event in try #require(answer).events { events.append(event) }
            return events.dropLast()
        }
        let live = try await world.node.answerInBackground(to: question, of: .local)
        gate.open()
        let whole: [ChatEvent] = [.text(choice: 0, "one "), .text(choice: 0, "two")]
        #expect(try await texts(live) == whole)
        #expect(try await texts(world.node.answerInBackground(to: question, of: .local)) == whole)
        await #expect(throws: RuntimeError.self) {
            try await world.node.answerInBackground(to: question, of: Owner(name: "ann"))
        }
        // What is told again holds up no end.
        await world.node.settle()
        #expect(try await world.node.answerInBackground(to: question, of: .local) == nil)
    }

    @Test("An answer that another host writes is stopped by a note; so is one whose question was deleted")
    func cancelledElsewhere() async throws {
        for deletes in [false, true] {
            let pair = await Pair.make()
            await pair.link()
            pair.a.engine.will(.text("half"), .hang)
            var request = Self.request("work", .new)
            request.runsInBackground = true
            let question = try #require(try await pair.a.node.answer(request, caller: .local).question)
            await pair.agree()
            if deletes {
                try await pair.b.node.deleteExchange(question, turns: 1, of: .local)
            } else {
                #expect(try await !pair.b.node.cancelAnswer(to: question, of: .local))
            }
            await pair.a.engine.stopped.wait()
            guard !deletes else { continue }
            await pair.agree()
            while try await pair.b.node.exchange(question, of: .local).progress != .over { await pair.agree() }
            let over = try await pair.b.node.exchange(question, of: .local)
            #expect(over.answer?.turn.outcome?.finishReason == .aborted)
        }
    }

    @Test("A question's annotation is replaced, here, elsewhere and after a start")
    func annotated() async throws {
        let pair = await Pair.make()
        await pair.link()
        let dot = try await Self.ask(pair.a, Self.request("one", .new))
        await pair.agree()
        try await pair.b.node.annotate(dot, ["note": "new"], of: .local)
        await pair.agree()
        let restarted = await pair.a.restarted()
        for world in [pair.a, pair.b, restarted] {
            #expect(try await world.node.exchange(dot, of: .local).question.turn.annotation == ["note": "new"])
            #expect(try await world.node.exchanges(of: .local) { $0["note"] == "new" }.count == 1)
        }
        await #expect(throws: RuntimeError.self) { try await pair.a.node.annotate(dot, [:], of: Owner(name: "ann")) }
    }

    @Test("A question whose host was stopped is lost there, and elsewhere's on the other")
    func lost() async throws {
        let pair = await Pair.make()
        await pair.link()
        pair.a.engine.will(.hang)
        var request = Self.request("work", .new)
        request.runsInBackground = true
        let question = try #require(try await pair.a.node.answer(request, caller: .local).question)
        await pair.agree()
        #expect(try await pair.b.node.exchange(question, of: .local).progress == .elsewhere(Pair.nodes[0]))
        let again = await World(pair.a.store, node: Pair.nodes[0])
        #expect(try await again.node.exchange(question, of: .local).progress == .lost)
        // A daemon that stops says that the answer failed; nobody cancelled it.
        await pair.a.node.settle()
        let over = try await pair.a.node.exchange(question, of: .local)
        #expect(over.progress == .over && over.answer?.turn.outcome?.finishReason == .failed)
    }
}
