import Core
import Glibc
import Testing

@testable import Engine

@Suite("An engine that speaks JSON lines", .serialized, .timeLimit(.minutes(1)))
struct JSONLinesEngineTests {
    @Test("is described by its first message")
    func description() async throws {
        let engine = await FaultEngine.lines("good")
        let description = try await engine.describe()
        #expect(
            description
                == EngineDescription(
                    kind: "stdio", fingerprint: "fault-1", contextLength: 512,
                    tokenCost: TokenCost(perByte: 1, perMessage: 4, fixed: 2, isExact: true),
                    samplingFields: ["temperature", "seed"], slots: 2))
        #expect(await engine.state() == .ready)
        await engine.stop()
        #expect(await engine.state() == .stopped)
    }

    @Test("answers in pieces, with the engine's own counts")
    func answers() async throws {
        let engine = await FaultEngine.lines("good")
        let answer = try await engine.answer("Grüße 🙂")
        #expect(answer.text == "You said: Grüße 🙂")
        #expect(answer.reason == .stop)
        #expect(answer.usage == TokenUsage(promptTokens: 7, completionTokens: 3, cachedTokens: 1))
        await engine.stop()
    }

    @Test("gets only the sampling fields that the request sets")
    func requestFields() async throws {
        let engine = await FaultEngine.lines("echo")
        var request = GenerationRequest(
            messages: [Message(.system, "Be kind."), Message(.user, "a \"b\"\n\\n")], maximumTokens: 9, stop: ["END"])
        request.sampling.temperature = 0.5
        request.sampling.seed = 7
        let json = try JSON.parse(try await engine.answer(request).text)
        #expect(
            Set(json.object?.members.map(\.key) ?? [])
                == ["op", "id", "messages", "max_tokens", "stop", "temperature", "seed"])
        #expect(json["messages"]?.array?.last?["content"]?.string == "a \"b\"\n\\n")
        #expect(json["messages"]?.array?.first?["role"]?.string == "system")
        #expect(json["max_tokens"]?.integer == 9)
        #expect(json["temperature"]?.number == 0.5)
        await engine.stop()
    }

    @Test("serves more requests than it has slots")
    func manyRequests() async throws {
        let engine = await FaultEngine.lines("good")
        try await withThrowingTaskGroup(of: String.self) { group in
            for number in 0..<40 { group.addTask { try await engine.answer("n\(number)").text } }
            var texts: Set<String> = []
            for try await text in group { texts.insert(text) }
            #expect(texts == Set((0..<40).map { "You said: n\($0)" }))
        }
        #expect(await engine.load() == (waiting: 0, running: 0))
        await engine.stop()
    }

    @Test("is told to stop when the reader goes away, and is free for the next")
    func vanishedReader() async throws {
        let engine = await FaultEngine.lines("ticking")
        _ = try await engine.describe()
        for _ in 0..<5 {
            let reader = Task {
                for try await event in engine.generate(.tick) {
                    if case .text = event { return }
                }
            }
            try await reader.value
            // The only slot is free again when the engine has confirmed the end.
            #expect(try await engine.answer("next").text == "You said: next")
        }
        await engine.stop()
    }

    @Test("is told to stop when the reader's task is cancelled")
    func cancelledReader() async throws {
        let engine = await FaultEngine.lines("ticking")
        _ = try await engine.describe()
        let (started, signal) = AsyncStream<Void>.makeStream()
        let reader = Task {
            for try await _ in engine.generate(.tick) { signal.yield() }
        }
        for await _ in started { break }
        reader.cancel()
        _ = await reader.result
        #expect(try await engine.answer("next").text == "You said: next")
        await engine.stop()
    }

    @Test("never sees a request that was cancelled while it waited")
    func cancelledWhileWaiting() async throws {
        let engine = await FaultEngine.lines("ticking")
        let running = Task { try await engine.generate(.tick).collected() }
        let waiting = Task { try await engine.answer("never") }
        try await reach { await engine.load() == (waiting: 1, running: 1) }
        waiting.cancel()
        try await reach { await engine.load() == (waiting: 0, running: 1) }
        running.cancel()
        _ = await (running.result, waiting.result)
        await engine.stop()
    }

    @Test("turns requests away when too many wait")
    func overload() async throws {
        var bounds = FaultEngine.quick
        bounds.waitingRequests = 1
        let engine = await FaultEngine.lines("ticking", bounds: bounds)
        _ = try await engine.describe()
        let tasks = (0..<2).map { _ in Task { try await engine.generate(.tick).collected() } }
        try await reach { await engine.load() == (waiting: 1, running: 1) }
        let error = await thrownError { _ = try await engine.answer() }
        #expect(error?.code == .overloaded)
        #expect(error?.retryAfter != nil)
        for task in tasks { task.cancel() }
        await engine.stop()
    }

    @Test(
        "is understood whatever it writes besides its messages",
        arguments: ["banner", "strange", "stderr-flood", "slow-start", "dribble"])
    func oddities(mode: String) async throws {
        let engine = await FaultEngine.lines(mode)
        let expected = ["strange": "fine", "dribble": "Zürich ✓ 🙂"][mode] ?? "You said: hello"
        let answer = try await engine.answer()
        #expect(answer.text == expected)
        #expect(answer.reason == .stop)
        await engine.stop()
    }

    @Test("tells that the token limit ended the answer")
    func length() async throws {
        let engine = await FaultEngine.lines("length")
        let answer = try await engine.answer()
        #expect(answer.text == "cut of")
        #expect(answer.reason == .length)
        await engine.stop()
    }

    @Test(
        "reports what is wrong with a request",
        arguments: [
            ("too-long", RuntimeError.Code.contextLengthExceeded), ("refuses", .invalidRequest),
            ("fails", .engineFailed),
        ])
    func requestErrors(mode: String, code: RuntimeError.Code) async throws {
        let engine = await FaultEngine.lines(mode)
        #expect(await thrownError { _ = try await engine.answer() }?.code == code)
        #expect(await engine.state() == .ready)
        await engine.stop()
    }

    @Test("a crash before the first text is repaired without the client's knowledge")
    func crashBeforeText() async throws {
        let state = StateFile()
        let engine = await FaultEngine.lines("crash-first", state: state)
        #expect(try await engine.answer().text == "You said: hello")
        #expect(state.starts == 2)
        await engine.stop()
    }

    @Test(
        "a child that breaks off or breaks the protocol fails its answer only, and is started again",
        arguments: ["crash-after-text", "garbage", "invalid-utf8", "long-line"])
    func crashInAnswer(mode: String) async throws {
        let state = StateFile()
        var bounds = FaultEngine.quick
        bounds.lineBytes = 100_000
        let engine = await FaultEngine.lines(mode, bounds: bounds, state: state)
        let error = await thrownError { _ = try await engine.answer() }
        #expect(error?.code == .engineFailed)
        try await reach { await engine.state() == .ready }
        #expect(state.starts >= 2)
        await engine.stop()
    }

    @Test("starts after two failed starts")
    func failedStarts() async throws {
        let state = StateFile()
        let engine = await FaultEngine.lines("exit-twice", state: state)
        #expect(try await engine.answer().text == "You said: hello")
        #expect(state.starts == 3)
        await engine.stop()
    }

    @Test(
        "is left alone with the reason after three crashes",
        arguments: [
            ("exit-at-once", "status 3"), ("fatal", "the weights are missing"), ("wrong-protocol", "version"),
            ("never-ready", "not ready"),
        ])
    func quarantine(mode: String, reason: String) async throws {
        let state = StateFile()
        var bounds = FaultEngine.quick
        if mode == "never-ready" { bounds.readiness = .milliseconds(300) }
        let engine = await FaultEngine.lines(mode, bounds: bounds, state: state)
        let error = await thrownError { _ = try await engine.describe() }
        #expect(error?.code == .unavailable)
        #expect(error?.message.contains(reason) == true, "\(error?.message ?? "")")
        // On a busy machine one may be given up before it could even count itself.
        #expect(mode == "never-ready" ? state.starts <= 3 : state.starts == 3)
        guard case .quarantined(let shown, _) = await engine.state() else {
            Issue.record("not in quarantine")
            return
        }
        #expect(shown.contains(reason))
        let refused = await thrownError { _ = try await engine.answer() }
        #expect(refused?.code == .unavailable)
        #expect(refused?.retryAfter ?? .zero > .seconds(20))
        await engine.stop()
    }

    @Test("is tried again when its quarantine is over")
    func halfOpen() async throws {
        let state = StateFile()
        var bounds = FaultEngine.quick
        bounds.quarantine = (.milliseconds(20), .milliseconds(20))
        let engine = await FaultEngine.lines("exit-at-once", bounds: bounds, state: state)
        try await reach { state.starts >= 5 }
        await engine.stop()
    }

    @Test("loses an answer that it stops writing, and goes on with the next")
    func stall() async throws {
        var bounds = FaultEngine.quick
        bounds.stall = .seconds(1)
        let engine = await FaultEngine.lines("good", bounds: bounds)
        #expect(await thrownError { _ = try await engine.answer("hang") }?.code == .engineFailed)
        #expect(try await engine.answer("next").text == "You said: next")
        await engine.stop()
    }

    @Test("is killed when it goes on after it was told to end")
    func disobedience() async throws {
        let state = StateFile()
        var bounds = FaultEngine.quick
        bounds.grace = .milliseconds(100)
        let engine = await FaultEngine.lines("deaf", bounds: bounds, state: state)
        let reader = Task {
            for try await _ in engine.generate(.tick) { return }
        }
        try await reader.value
        #expect(try await engine.answer("next").text == "You said: next")
        #expect(state.starts == 2)
        await engine.stop()
    }

    @Test("cannot write without end")
    func endless() async throws {
        var bounds = FaultEngine.quick
        bounds.outputBytes = 1 << 20
        let engine = await FaultEngine.lines("endless", bounds: bounds)
        #expect(await thrownError { _ = try await engine.answer() }?.code == .engineFailed)
        await engine.stop()
    }

    @Test("gives up an answer that its reader leaves lying")
    func stalledReader() async throws {
        var bounds = FaultEngine.quick
        bounds.unreadBytes = 64 * 1024
        bounds.unreadStall = .milliseconds(100)
        bounds.outputBytes = 1 << 30
        let engine = await FaultEngine.lines("endless", bounds: bounds)
        let (error, bytes) = try await readLate(engine.generate(.tick)) {
            try await reach { await engine.load().running <= 0 }
        }
        #expect(error?.code == .timedOut)
        #expect(bytes < 512 * 1024, "the child was left to wait")
        await engine.stop()
    }

    @Test("inherits nothing but what it is given, and dies with the daemon")
    func surroundings() async throws {
        let engine = await FaultEngine.lines("surroundings", environment: ["MODEL_HINT": "x"])
        let json = try JSON.parse(try await engine.answer().text)
        let names = Set(json["environment"]?.array?.compactMap(\.string) ?? [])
        #expect(names.isSubset(of: ["LANG", "LC_CTYPE", "MODEL_HINT", "PATH"]))
        #expect(names.isSuperset(of: ["LANG", "MODEL_HINT", "PATH"]))
        #expect(json["descriptors"] == [0, 1, 2])
        #expect(json["own_session"] == .bool(true))
        #expect(json["core_limit"] == 0)
        if access("/usr/bin/setpriv", X_OK) == 0, access("/usr/bin/python3", X_OK) == 0 {
            #expect(json["death_signal"] == 9)
        }
        await engine.stop()
    }

    @Test("that is not installed is named")
    func missingProgram() async throws {
        let engine = JSONLinesEngine(
            name: "none", command: ["no-such-engine"], bounds: FaultEngine.quick, log: FaultEngine.quiet)
        await engine.start()
        let error = await thrownError { _ = try await engine.describe() }
        #expect(error?.code == .unavailable)
        #expect(error?.message.contains("no-such-engine") == true)
        await engine.stop()
    }

    @Test("fails running answers when it is stopped, and leaves no process")
    func stopping() async throws {
        let engine = await FaultEngine.lines("ticking")
        let error = try await readLate(engine.generate(.tick)) { await engine.stop() }.error
        #expect(error?.code == .unavailable)
    }
}
