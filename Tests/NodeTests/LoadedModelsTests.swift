import Core
import Logging
import Testing

@testable import Node

/// Engines that come and go, with scripted ones in their place.
@Suite(.timeLimit(.minutes(1))) struct LoadedModelsTests {
    private static let request = GenerationRequest(messages: [Message(.user, "hi")], maximumTokens: 8)

    private static func models(
        _ keepAlive: KeepAlive = .loaded(.seconds(600)), made: Record<ScriptedEngine> = Record(),
        make: @escaping @Sendable () throws -> ScriptedEngine = { ScriptedEngine() }
    ) async throws -> Models {
        let models = Models([], loaded: LoadedModels(budget: 100, log: Logger(label: "test")))
        try await models.add(
            name: "m", kind: "scripted",
            making: .onDemand(
                LoadedModels.Recipe(name: "m", keepAlive: keepAlive, loadsAtStart: false) {
                    let engine = try make()
                    made.append(engine)
                    return engine
                }))
        return models
    }

    private static func text(_ models: Models, _ request: GenerationRequest = request) async throws -> String {
        var text = ""
        for try await event in try models.entry(named: "m").engine.generate(request) {
            if case .text(let piece) = event { text += piece }
        }
        return text
    }

    @Test func theFirstRequestLoadsTheModelAndTheNextOnesUseIt() async throws {
        let made = Record<ScriptedEngine>()
        let models = try await Self.models(made: made)
        #expect(await models.statuses().first?.state == .unloaded)
        #expect(try await Self.text(models) == "answer 1")
        #expect(try await Self.text(models) == "answer 2")
        #expect(made.all.count == 1)
        let status = try #require(await models.statuses().first)
        #expect(status.state == .ready && status.description != nil)
        #expect(status.leavesIn ?? .zero > .seconds(500))
    }

    @Test func zeroUnloadsAfterTheAnswerAndWhatTheEngineToldIsStillKnown() async throws {
        let made = Record<ScriptedEngine>()
        let models = try await Self.models(made: made)
        var request = Self.request
        request.keepAlive = .unloaded
        _ = try await Self.text(models, request)
        while await models.statuses().first?.state != .unloaded { await Task.yield() }
        #expect(await models.statuses().first?.description?.contextLength == 4_096)
        // A new one is made: a stopped engine does not come back.
        #expect(try await Self.text(models) == "answer 1")
        #expect(made.all.count == 2)
    }

    @Test func anAnswerThatIsLetGoOfFreesTheModel() async throws {
        let hanging = ScriptedEngine()
        hanging.will(.text("x"), .hang)
        let models = try await Self.models(.unloaded) { hanging }
        do {
            var iterator = try models.entry(named: "m").engine.generate(Self.request).makeAsyncIterator()
            #expect(try await iterator.next() == .text("x"))
            #expect(await models.statuses().first?.state == .ready)
        }
        while await models.statuses().first?.state != .unloaded { await Task.yield() }
    }

    @Test func aLoadThatFailsSaysWhyAndHowLongItIsLeftAlone() async throws {
        let models = try await Self.models { throw RuntimeError(.configuration, "the program is not there") }
        await #expect {
            _ = try await Self.text(models)
        } throws: { error in
            let error = error as? RuntimeError
            return error?.code == .unavailable && error?.message == "the program is not there"
                && (Limits.modelRetry / 2...Limits.modelRetry).contains(error?.retryAfter ?? .zero)
        }
        guard case .quarantined("the program is not there", _) = await models.statuses().first?.state else {
            Issue.record("the failure is not shown")
            return
        }
    }

    @Test func whoWaitsNoLongerThanThePatienceIsToldToAskAgain() async throws {
        let gate = Gate()
        let models = Models([], loaded: LoadedModels(budget: 100, log: Logger(label: "test")))
        try await models.add(
            name: "m", kind: "scripted",
            making: .onDemand(
                LoadedModels.Recipe(name: "m", keepAlive: .forever, loadsAtStart: false) { SlowEngine(gate: gate) }))
        let entry = try models.entry(named: "m")
        await #expect {
            try await models.prepare(entry, keepAlive: nil, patience: .milliseconds(1))
        } throws: {
            ($0 as? RuntimeError)?.retryAfter == .seconds(5)
        }
        #expect(await models.isLoading(entry))
        gate.open()
        try await models.prepare(entry, keepAlive: nil, patience: nil)
        #expect(await models.statuses().first?.state == .ready)
    }

    @Test func onlyWhatWasNotConfiguredIsRemoved() async throws {
        let models = try await Self.models()
        await #expect(throws: RuntimeError.self) { try await models.remove("m") }
        try await models.add(name: "n", kind: "scripted", source: .added, making: .always(ScriptedEngine()))
        await #expect(throws: RuntimeError.self) {
            try await models.add(name: "n", kind: "scripted", making: .always(ScriptedEngine()))
        }
        _ = try await models.remove("n")
        #expect(throws: RuntimeError.self) { try models.entry(named: "n") }
    }

    @Test func theEndStopsEnginesAndTurnsAwayWhoComesLater() async throws {
        let models = try await Self.models()
        _ = try await Self.text(models)
        await models.stop()
        await #expect(throws: RuntimeError.self) { try await models.entry(named: "m").engine.embed(["x"]) }
    }
}

/// Its load takes until the gate opens.
private struct SlowEngine: InferenceEngine {
    let gate: Gate
    let inner = ScriptedEngine()

    func start() async {}
    func stop() async {}
    func describe() async throws -> EngineDescription {
        await gate.wait()
        return inner.description
    }
    func state() async -> EngineState { .ready }
    func load() async -> (waiting: Int, running: Int) { (0, 0) }
    func generate(_ request: GenerationRequest) -> GenerationStream { inner.generate(request) }
}
