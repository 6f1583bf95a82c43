import Core
import Swarm
import Testing

@testable import Node

@Suite("An engine behind its queue", .timeLimit(.minutes(1))) struct QueuedEngineTests {
    private static func request(
        _ text: String, caller: UInt64 = 1, _ priority: Ticket.Priority = .normal, patience: Duration? = nil,
        moves: Int = 0
    ) -> GenerationRequest {
        var request = GenerationRequest(messages: [Message(.user, text)], maximumTokens: 8)
        request.ticket = Ticket(caller: caller, priority: priority, patience: patience, moves: moves)
        return request
    }

    private static func read(_ stream: GenerationStream) async throws -> Int {
        var count = 0
        for try await event in stream {
            count += 1
            if case .finished = event { break }
        }
        return count
    }

    /// Waits until so many wait.
    private static func waiting(_ count: Int, at engine: QueuedEngine) async {
        while await engine.load().waiting != count { await Task.yield() }
    }

    /// An engine with one slot whose first answer lasts until the gate opens, and a task that reads it.
    private static func busy(length: Int = 8) async -> (QueuedEngine, ScriptedEngine, Gate, Task<Int, any Error>) {
        let scripted = ScriptedEngine(slots: 1)
        let gate = Gate()
        scripted.will(.text("first"), .wait(gate), .finish())
        let engine = QueuedEngine(scripted, name: "m", policy: QueuedEngine.Policy(length: length))
        let first = Task { try await read(engine.generate(request("first"))) }
        while scripted.requests.isEmpty { await Task.yield() }
        return (engine, scripted, gate, first)
    }

    @Test("The engine never has more than its slots, and the next in turn is asked when one ends")
    func slots() async throws {
        let (engine, scripted, gate, first) = await Self.busy()
        let tasks = [("a", UInt64(1)), ("b", 1), ("c", 2)].enumerated().map { index, one in
            Task {
                await Self.waiting(index, at: engine)
                return try await Self.read(engine.generate(Self.request(one.0, caller: one.1)))
            }
        }
        await Self.waiting(3, at: engine)
        #expect(scripted.requests.count == 1)
        #expect(engine.hasBacklog && engine.waiting[.normal] == 3)
        gate.open()
        for task in tasks { _ = try await task.value }
        _ = try await first.value
        // The other caller's one goes before the second of the first.
        #expect(scripted.requests.compactMap { $0.messages.first?.text } == ["first", "c", "a", "b"])
        #expect(!engine.hasBacklog)
    }

    @Test("One for which there is no room is told its position, and when to come back")
    func full() async throws {
        let (engine, _, gate, first) = await Self.busy(length: 1)
        let second = Task { try await Self.read(engine.generate(Self.request("second"))) }
        await Self.waiting(1, at: engine)
        let error = await #expect(throws: RuntimeError.self) {
            try await Self.read(engine.generate(Self.request("third")))
        }
        #expect(error?.code == .overloaded)
        #expect(error?.cause as? QueueExit == .full(position: 2))
        #expect(error?.retryAfter ?? .zero >= .seconds(1))
        #expect(error?.message.contains("number 2") == true)
        gate.open()
        _ = try await (first.value, second.value)
    }

    @Test("One that may wait no longer ends, though nothing else happens")
    func expired() async throws {
        let (engine, scripted, gate, first) = await Self.busy()
        let error = await #expect(throws: RuntimeError.self) {
            try await Self.read(engine.generate(Self.request("late", patience: .milliseconds(20))))
        }
        #expect(error?.code == .timedOut)
        #expect(error?.cause as? QueueExit == .expired(position: 1))
        gate.open()
        _ = try await first.value
        #expect(scripted.requests.count == 1)
    }

    @Test("Readers that leave give up their turns, waiting and running")
    func gone() async throws {
        let (engine, scripted, gate, first) = await Self.busy()
        let waiting = Task { try await Self.read(engine.generate(Self.request("never"))) }
        await Self.waiting(1, at: engine)
        waiting.cancel()
        await Self.waiting(0, at: engine)
        first.cancel()
        // It takes its turn although the first has not ended by itself.
        #expect(try await Self.read(engine.generate(Self.request("next"))) == 2)
        #expect(scripted.requests.compactMap { $0.messages.first?.text } == ["first", "next"])
        gate.open()
        await #expect(throws: CancellationError.self) { try await waiting.value }
    }

    @Test("What waits moves to who has nothing to do, what has moved enough does not")
    func moved() async throws {
        let (engine, scripted, gate, first) = await Self.busy()
        let node = NodeID(Bytes16(high: 0, low: 9))
        let movable = Task { try await Self.read(engine.generate(Self.request("move"))) }
        await Self.waiting(1, at: engine)
        let tired = Task { try await Self.read(engine.generate(Self.request("stay", moves: Limits.queueMoves))) }
        await Self.waiting(2, at: engine)
        engine.compare(with: [ModelQueue.Helper(node: node, free: 4, isCold: true, telling: 1)], isHot: false)
        let error = await #expect(throws: RuntimeError.self) { try await movable.value }
        #expect(error?.cause as? QueueExit == .moved(to: node))
        gate.open()
        _ = try await (first.value, tired.value)
        #expect(scripted.requests.compactMap { $0.messages.first?.text } == ["first", "stay"])
    }

    @Test("An engine that cannot say what it can is asked all the same, and says why")
    func broken() async throws {
        let scripted = ScriptedEngine()
        scripted.will(.fail(RuntimeError(.unavailable, "it is broken")))
        let engine = QueuedEngine(scripted, name: "m")
        let error = await #expect(throws: RuntimeError.self) {
            try await Self.read(engine.generate(Self.request("a")))
        }
        #expect(error?.message == "it is broken")
        #expect(try await Self.read(engine.generate(Self.request("b"))) == 2)
    }
}
