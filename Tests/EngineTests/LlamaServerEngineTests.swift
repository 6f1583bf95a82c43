import Core
import Glibc
import Testing

@testable import Engine

@Suite("A llama-server that misbehaves", .serialized, .timeLimit(.minutes(1)))
struct LlamaServerEngineTests {
    @Test("is started with a key of its own, on a socket in a folder of its own, and with what it knows of our flags")
    func surroundings() async throws {
        let engine = await FaultEngine.server("surroundings")
        let text = try await engine.answer("a secret <|end|>").text
        let json = try JSON.parse(text)
        let inner = try JSON.parse(json["surroundings"]?.string ?? "")
        let arguments = inner["arguments"]?.array?.compactMap(\.string) ?? []
        let socket = try #require(arguments.firstIndex(of: "--host").map { arguments[$0 + 1] })
        #expect(socket.utf8.count <= 107)
        var status = stat()
        #expect(stat(String(socket.dropLast("/s.sock".count)), &status) == 0)
        #expect(status.st_mode & 0o777 == 0o700)
        #expect(arguments.contains("--metrics"))
        #expect(arguments.contains("--no-slots"))
        #expect(!arguments.contains("--offline"), "the program does not know it")
        #expect(!arguments.contains { $0.contains("secret") })
        #expect(inner["environment"]?.array?.contains("LLAMA_API_KEY") == true)
        #expect(inner["descriptors"] == [0, 1, 2])
        #expect(inner["own_session"] == true)
        #expect(json["messages"] == [["role": "user", "content": "a secret <\u{200B}|end|>"]])
        #expect(json["cache_prompt"] == true)
        #expect(json["id_slot"] == 0)
        #expect(json["temperature"]?.number == 0, "the recall model is exact by nature")
        await engine.stop()
        #expect(stat(socket, &status) != 0, "the socket is gone")
    }

    @Test("is described by what it says of itself")
    func description() async throws {
        let engine = await FaultEngine.server("plain")
        let description = try await engine.describe()
        #expect(description.kind == "llama-server")
        #expect(description.fingerprint.contains("b11669-Debian"))
        #expect(description.contextLength == 512)
        #expect(description.tokenCost == TokenCost(perByte: 1, perMessage: 4, fixed: 2, isExact: true))
        #expect(
            description.capabilities == [
                .jsonObject, .jsonSchema, .logprobs, .logitBias, .rawPrompt, .tokenCounts, .partial,
            ])
        let answer = try await engine.answer()
        #expect(answer.text == "Hello")
        #expect(answer.usage == TokenUsage(promptTokens: 3, completionTokens: 2))
        await engine.stop()
    }

    @Test("one that dies before its first word is asked again, one that dies later is not")
    func death() async throws {
        let once = StateFile()
        let engine = await FaultEngine.server("dies-once", state: once)
        #expect(try await engine.answer().text == "Hello")
        #expect(once.starts == 2)
        await engine.stop()

        let mid = await FaultEngine.server("dies-mid")
        let (error, bytes) = try await readLate(mid.generate(.tick)) {}
        #expect(error?.code == .engineFailed)
        #expect(bytes == 5)
        try await reach { await mid.state() == .ready }
        await mid.stop()
    }

    @Test("one that always dies is left alone")
    func quarantine() async throws {
        let engine = await FaultEngine.server("dies")
        for _ in 0..<3 { _ = await thrownError { _ = try await engine.answer() } }
        try await reach { await engine.state().word == "quarantined" }
        #expect(await thrownError { _ = try await engine.answer() }?.code == .unavailable)
        await engine.stop()
    }

    @Test("what cannot be started says why", arguments: ["unloadable", "missing"])
    func start(mode: String) async throws {
        let engine: LlamaServerEngine
        if mode == "missing" {
            engine = LlamaServerEngine(
                LlamaServerEngine.Options(name: "x", command: ["no-such-server"], modelPath: Repository.recallModel),
                bounds: FaultEngine.quick, log: FaultEngine.quiet)
            await engine.start()
        } else {
            engine = await FaultEngine.server(mode)
        }
        let error = await thrownError { _ = try await engine.describe() }
        #expect(error?.code == .unavailable)
        let words = mode == "missing" ? "no-such-server is not there" : "could not load the model file"
        #expect(error?.message.contains(words) == true)
        await engine.stop()
    }

    @Test("a slow load is waited for; one that never is ready is not")
    func readiness() async throws {
        let slow = await FaultEngine.server("slow-load")
        #expect(try await slow.answer().text == "Hello")
        await slow.stop()
        var bounds = FaultEngine.quick
        bounds.readiness = .milliseconds(400)
        bounds.restartDelay = (.seconds(30), .seconds(30))
        let never = await FaultEngine.server("never-ready", bounds: bounds)
        try await reach { await never.state().word == "restarting" }
        await never.stop()
    }

    @Test("a hung one is ended and started anew")
    func hang() async throws {
        var bounds = FaultEngine.quick
        bounds.stall = .milliseconds(300)
        let state = StateFile()
        let engine = await FaultEngine.server("hang", bounds: bounds, state: state)
        #expect(await thrownError { _ = try await engine.answer() }?.code == .engineFailed)
        try await reach { state.starts >= 2 }
        await engine.stop()
    }

    @Test(
        "faults on the wire fail the request, not the engine",
        arguments: [("garbage", RuntimeError.Code.engineFailed), ("loading", .unavailable), ("stuck", .engineFailed)])
    func wire(mode: String, code: RuntimeError.Code) async throws {
        var bounds = FaultEngine.quick
        bounds.stall = .milliseconds(300)
        let engine = await FaultEngine.server(mode, bounds: bounds)
        #expect(await thrownError { _ = try await engine.answer() }?.code == code)
        #expect(await engine.state() == .ready)
        try await reach { await engine.load().running == 0 }
        await engine.stop()
    }

    @Test("a deaf one is killed when its time is over")
    func deaf() async throws {
        var bounds = FaultEngine.quick
        bounds.grace = .milliseconds(200)
        let engine = await FaultEngine.server("deaf", bounds: bounds)
        _ = try await engine.describe()
        // Returns only when its process has ended; a deaf one never would by itself.
        await engine.stop()
        #expect(await engine.state() != .ready)
    }
}
