import Core
import Swarm
import Testing

@testable import Node

/// Hosts A (asked, without models of its own unless a test gives it one), B and C, with links in memory.
@Suite("Answers of other hosts", .timeLimit(.minutes(1))) struct DispatcherTests {
    private static let nodes = (0..<3).map { NodeID(Bytes16(high: 2, low: UInt64($0))) }

    private struct Trio {
        let transport = MemoryTransport()
        let engines: [ScriptedEngine]
        let dispatcher: Dispatcher
        let node: LocalNode
        private let desks: Task<Void, Never>

        /// - Parameter capabilities: of the engines of B and C.
        init(capabilities: Set<EngineCapability> = [.partial], own: ScriptedEngine? = nil) async {
            let engines = [ScriptedEngine(capabilities: capabilities), ScriptedEngine(capabilities: capabilities)]
            let transport = transport
            let hosted = engines.map { engine in
                Models([Models.Entry(name: "m", aliases: ["alias"], kind: "scripted", engine: engine)])
            }
            let streams = [transport.host(DispatcherTests.nodes[1]), transport.host(DispatcherTests.nodes[2])]
            desks = Task {
                await withTaskGroup(of: Void.self) { group in
                    for (models, stream) in zip(hosted, streams) {
                        group.addTask {
                            await WorkDesk(
                                models: models, answers: LiveAnswers(node: DispatcherTests.nodes[0]),
                                hasOther: { _ in true }, log: World.silent
                            ).run(stream)
                        }
                    }
                }
            }
            let reports = (1...2).map { index in
                HostReport(
                    id: DispatcherTests.nodes[index], name: "host\(index)",
                    address: NetworkAddress(host: "127.0.0.1", port: index),
                    state: .alive, lastSeen: 0, roundTrip: .milliseconds(index),
                    models: [
                        HostedModel(
                            name: "m", aliases: ["alias"], engine: "scripted", state: "ready",
                            capabilities: capabilities.map(\.rawValue))
                    ])
            }
            let models = Models(
                own.map { [Models.Entry(name: "m", aliases: [], kind: "scripted", engine: $0)] } ?? [])
            dispatcher = Dispatcher(
                node: DispatcherTests.nodes[0], models: models, hosts: { reports },
                links: WorkLinks(
                    transport: transport, addresses: { _ in [NetworkAddress(host: "127.0.0.1", port: 1)] }),
                takesUp: true)
            node = await World.node(DispatcherTests.nodes[0], models: models, dispatcher: dispatcher)
            self.engines = engines
        }

        func end() { desks.cancel() }
    }

    private func read(_ answer: ChatAnswer, at piece: Int = .max, _ strike: () -> Void = {}) async throws -> [ChatEvent]
    {
        var events: [ChatEvent] = []
        for try await event in answer.events {
            events.append(event)
            if events.count == piece { strike() }
        }
        return events
    }

    private func text(_ events: [ChatEvent]) -> String {
        events.map { if case .text(0, let text) = $0 { text } else { "" } }.joined()
    }

    private func moves(_ events: [ChatEvent]) -> [Failover] {
        events.compactMap { if case .moved(0, let failover) = $0 { failover } else { nil } }
    }

    @Test("A host that could do less is no choice, not even the one that was asked")
    func noLess() async {
        func hosted(_ context: Int) -> HostedModel {
            HostedModel(name: "m", engine: "scripted", state: "ready", contextLength: context)
        }
        let candidates = [
            RouteCandidate(node: Self.nodes[0], isSelf: true, model: hosted(128)),
            RouteCandidate(node: Self.nodes[1], model: hosted(4_096)),
        ]
        let engine = ScriptedEngine()
        let dispatcher = Dispatcher(
            node: Self.nodes[0],
            models: Models([Models.Entry(name: "m", aliases: [], kind: "scripted", engine: engine)]),
            candidates: { _ in candidates },
            links: WorkLinks(transport: MemoryTransport(), addresses: { _ in [] }), takesUp: true)
        let chosen = await dispatcher.choose(
            GenerationRequest(messages: [], maximumTokens: 8), of: "m", prefix: PromptPrefix(),
            begun: Place(node: Self.nodes[1], model: hosted(4_096), engine: engine, reason: ""),
            EngineDescription(
                kind: "scripted", fingerprint: "f", contextLength: 4_096,
                tokenCost: TokenCost(perByte: 1, perMessage: 0, fixed: 0, isExact: true), samplingFields: []))
        #expect(chosen.node == Self.nodes[1])
    }

    @Test("A model that only others have is asked of the nearest, and the reply says so")
    func elsewhere() async throws {
        let trio = await Trio()
        defer { trio.end() }
        trio.engines[0].will(.text("from B"), .finish())
        var request = World.request("hello", off: true)
        request.model = "alias"
        let answer = try await trio.node.answer(request, caller: .local)
        #expect(answer.servedBy == Self.nodes[1])
        #expect(answer.model == "m")
        #expect(answer.routeReason == "not on the host that was asked")
        #expect(text(try await read(answer)) == "from B")
        #expect(trio.engines[0].requests.first?.messages.map(\.text) == ["hello"])
        #expect(trio.engines[1].requests.isEmpty)
        // The same link serves the next one.
        #expect(text(try await read(try await trio.node.answer(request, caller: .local))) == "answer 2")
        #expect(trio.transport.opened == 1)
    }

    @Test("This host answers itself where its model is ready, and is not asked while it is not")
    func own() async throws {
        let engine = ScriptedEngine(capabilities: [.partial])
        let trio = await Trio(own: engine)
        defer { trio.end() }
        #expect(try await trio.node.answer(World.request("a", off: true), caller: .local).servedBy == Self.nodes[0])
        engine.become(.restarting(reason: "it crashed"))
        let answer = try await trio.node.answer(World.request("a", off: true), caller: .local)
        #expect(answer.servedBy == Self.nodes[1])
        #expect(answer.routeReason == "not ready on the host that was asked")
    }

    @Test("A host that dies in mid-answer is followed by another, right behind the text")
    func lost() async throws {
        let trio = await Trio()
        defer { trio.end() }
        trio.engines[0].will(.text("I will "), .hang)
        trio.engines[1].will(.text("be there"), .finish())
        let answer = try await trio.node.answer(World.request("hello", to: "c"), caller: .local)
        let events = try await read(answer, at: 1) { trio.transport.kill(Self.nodes[1]) }
        #expect(text(events) == "I will be there")
        #expect(
            moves(events) == [Failover(from: Self.nodes[1], to: Self.nodes[2], cause: .lost, way: .continued)])
        #expect(trio.engines[1].requests.first?.partial == "I will ")
        await trio.engines[0].stopped.wait()
    }

    @Test("Where the next engine cannot go on behind text, it writes all again and the client sees what is new")
    func repeated() async throws {
        let trio = await Trio(capabilities: [])
        defer { trio.end() }
        trio.engines[0].will(.text("I will "), .hang)
        trio.engines[1].will(.text("I wi"), .text("ll be"), .text(" there"), .finish())
        let answer = try await trio.node.answer(World.request("hello", off: true), caller: .local)
        let events = try await read(answer, at: 1) { trio.transport.kill(Self.nodes[1]) }
        #expect(text(events) == "I will be there")
        #expect(moves(events).map(\.way) == [.repeated])
        #expect(trio.engines[1].requests.first?.partial == nil)
    }

    @Test("An engine that fails is followed by another host; one that fails there too ends the answer")
    func engines() async throws {
        let trio = await Trio()
        defer { trio.end() }
        let crash = RuntimeError(.engineFailed, "it crashed")
        trio.engines[0].will(.text("a"), .fail(crash))
        trio.engines[1].will(.fail(crash))
        let answer = try await trio.node.answer(World.request("hello", off: true), caller: .local)
        var seen: [ChatEvent] = []
        let error = await #expect(throws: RuntimeError.self) {
            for try await event in answer.events { seen.append(event) }
        }
        #expect(text(seen) == "a")
        #expect(error?.message.contains("no other host could go on") == true)
        #expect(trio.engines.map(\.requests.count) == [1, 1], "a prompt that crashes engines is not passed round")
    }

    @Test("What is wrong with the request is wrong everywhere")
    func invalid() async throws {
        let trio = await Trio()
        defer { trio.end() }
        trio.engines[0].will(.fail(RuntimeError(.contextLengthExceeded, "too long", parameter: "messages")))
        let error = await #expect(throws: RuntimeError.self) {
            try await trio.node.answer(World.request("hello", off: true), caller: .local)
        }
        #expect(error?.code == .contextLengthExceeded)
        #expect(error?.parameter == "messages")
        #expect(trio.engines[1].requests.isEmpty)
    }

    @Test("A host with too much to do is passed over before anything is given out")
    func refused() async throws {
        let trio = await Trio()
        defer { trio.end() }
        trio.engines[0].will(.fail(RuntimeError(.overloaded, "full", retryAfter: .seconds(1))))
        trio.engines[1].will(.text("from C"), .finish())
        let answer = try await trio.node.answer(World.request("hello", off: true), caller: .local)
        #expect(answer.servedBy == Self.nodes[2])
        let events = try await read(answer)
        #expect(text(events) == "from C")
        #expect(moves(events).isEmpty, "nothing had been given out")
    }

    @Test("What waits on a host that sends it on is asked there, and nothing counts as failed")
    func sentOn() async throws {
        let trio = await Trio()
        defer { trio.end() }
        trio.engines[0].will(
            .fail(RuntimeError(.overloaded, "go on", cause: QueueExit.moved(to: Self.nodes[2]))))
        trio.engines[1].will(.text("from C"), .finish())
        let answer = try await trio.node.answer(World.request("hello", off: true), caller: .local)
        #expect(text(try await read(answer)) == "from C")
        #expect(answer.servedBy == Self.nodes[2])
        let tickets = [trio.engines[0], trio.engines[1]].map { $0.requests.last?.ticket }
        #expect(tickets.map { $0?.moves } == [0, 1])
        #expect(tickets[0]?.caller != 0 && tickets[0]?.caller == tickets[1]?.caller)
    }

    @Test("A request that hosts send to one another ends")
    func ping() async throws {
        let trio = await Trio()
        defer { trio.end() }
        for _ in 0..<10 {
            for (engine, other) in [(0, 2), (1, 1)] {
                trio.engines[engine].will(
                    .fail(RuntimeError(.overloaded, "go on", cause: QueueExit.moved(to: Self.nodes[other]))))
            }
        }
        let error = await #expect(throws: RuntimeError.self) {
            try await trio.node.answer(World.request("hello", off: true), caller: .local)
        }
        #expect(error?.code == .overloaded)
        #expect(trio.engines.map(\.requests.count).reduce(0, +) == Limits.queueMoves + 1)
    }

    @Test("Where nobody has room, the client is told of the host that will have it first")
    func noRoom() async throws {
        let trio = await Trio()
        defer { trio.end() }
        for (engine, wait) in [(0, 7), (1, 3)] {
            trio.engines[engine].will(
                .fail(
                    RuntimeError(
                        .overloaded, "full", retryAfter: .seconds(wait), cause: QueueExit.full(position: wait))))
        }
        let error = await #expect(throws: RuntimeError.self) {
            try await trio.node.answer(World.request("hello", off: true), caller: .local)
        }
        #expect(error?.cause as? QueueExit == .full(position: 3))
        #expect(error?.retryAfter == .seconds(3))
        #expect(trio.engines.map(\.requests.count) == [1, 1])
    }

    @Test("A reader that goes away ends the work on the other host")
    func gone() async throws {
        let trio = await Trio()
        defer { trio.end() }
        trio.engines[0].will(.text("a"), .hang)
        var answer: ChatAnswer? = try await trio.node.answer(World.request("hello", off: true), caller: .local)
        var first: ChatEvent?
        if let events = answer?.events {
            for try await event in events {
                first = event
                break
            }
        }
        #expect(first == .text(choice: 0, "a"))
        answer = nil
        await trio.engines[0].stopped.wait()
    }

    @Test("A model that nobody has is refused with what there is")
    func unknown() async throws {
        let trio = await Trio()
        defer { trio.end() }
        var request = World.request("hello", off: true)
        request.model = "nothing"
        let error = await #expect(throws: RuntimeError.self) {
            try await trio.node.answer(request, caller: .local)
        }
        #expect(error?.code == .modelNotFound)
        #expect(error?.message.contains("other hosts of the swarm have: m") == true)
    }

    @Test("Offers: ready before not ready, near before far, another file never")
    func offers() {
        func offer(_ number: Int, state: String = "ready", digest: String? = nil, trip: Int = 1, isSelf: Bool = false)
            -> Offer
        {
            let file = digest.map { ModelFile(digest: $0, bytes: 1) }
            return Offer(
                node: NodeID(Bytes16(high: 0, low: UInt64(number))), isSelf: isSelf,
                model: HostedModel(name: "m", engine: "e", state: state, file: file), roundTrip: .milliseconds(trip))
        }
        func order(_ offers: [Offer], like: HostedModel? = nil) -> [UInt64] {
            Offer.ordered(offers, like: like).map(\.node.bytes.low)
        }
        let offers = [
            offer(1, state: "starting", isSelf: true), offer(2, digest: "aa", trip: 9), offer(3, digest: "bb", trip: 2),
            offer(4, trip: 5),
        ]
        #expect(order(offers) == [3, 4, 2, 1])
        #expect(order(offers + [offer(5, trip: 99, isSelf: true)]) == [5, 3, 4, 2, 1])
        #expect(order(offers, like: offers[1].model) == [4, 2, 1])
    }
}

extension World {
    /// A host with models of its own choice, and a dispatcher.
    fileprivate static func node(_ id: NodeID, models: Models, dispatcher: Dispatcher) async -> LocalNode {
        let store = MemoryStore(node: id)
        let writer = LogWriter(
            store: store, seals: seals(id), durability: .first, log: silent, wallClock: wall)
        await writer.recover()
        return LocalNode(
            id: id, version: "test", models: models,
            conversations: Conversations(store: store, writer: writer, prefixKey: prefixKey, policy: .always),
            writer: writer, store: store, log: silent, wallClock: wall, dispatcher: dispatcher)
    }
}
