import Core
import Testing

@testable import Engine

@Suite("An upstream of the OpenAI API", .timeLimit(.minutes(1)))
struct RemoteEngineTests {
    private static func engine(
        _ server: ScriptedServer, bounds: EngineBounds = FaultEngine.quick, slots: Int = 8,
        capabilities: Set<EngineCapability>? = nil, context: Int? = nil
    ) async -> RemoteEngine {
        var options = RemoteEngine.Options(name: "office", url: server.url, model: "big")
        options.key = Secret("sesame-4711")
        options.slots = slots
        options.contextLength = context
        options.capabilities = capabilities ?? options.capabilities
        let engine = RemoteEngine(options, bounds: bounds, log: FaultEngine.quiet)
        engine.start()
        return engine
    }

    @Test("answers, counts, and uses its connection again")
    func answers() async throws {
        let server = try await ScriptedServer { request, _ in
            request.has("GET /v1/models") ? [.json("200 OK", "{}")] : ScriptedServer.Step.answer("Hel", "lo")
        }
        let engine = await Self.engine(server)
        try await reach { engine.state() == .ready }
        for _ in 0..<3 {
            let answer = try await engine.answer()
            #expect(answer.text == "Hello")
            #expect(answer.reason == .stop)
            #expect(answer.usage == TokenUsage(promptTokens: 7, completionTokens: 2))
        }
        #expect(server.requests.count == 3)
        #expect(server.connections <= 2, "the probe may have had its own")
        let request = try #require(server.requests.first)
        #expect(request.head.hasPrefix("POST /v1/chat/completions HTTP/1.1\r\n"))
        #expect(request.has("authorization: Bearer sesame-4711"))
        #expect(request.json?["model"] == "big")
        #expect(request.json?["stream"] == true)
        #expect(request.json?["store"] == false)
        #expect(request.json?["max_tokens"] == 64)
        engine.stop()
        #expect(engine.state() == .stopped)
    }

    private static var readWhole: GenerationRequest {
        var request = GenerationRequest(messages: [Message(.user, "hi")], maximumTokens: 9)
        request.isReadWhole = true
        return request
    }

    private static let whole = #"""
        {"choices":[{"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}],
        "usage":{"prompt_tokens":7,"completion_tokens":2}}
        """#

    @Test("an answer that is read at its end is asked for in one piece, and may take its time")
    func wholeAnswers() async throws {
        let server = try await ScriptedServer { request, _ in
            request.has("GET /v1/models") ? [.json("200 OK", "{}")] : [.json("200 OK", Self.whole)]
        }
        let engine = await Self.engine(server)
        for _ in 0..<2 {
            let answer = try await engine.answer(Self.readWhole)
            #expect(answer.text == "Hello")
            #expect(answer.reason == .stop)
            #expect(answer.usage == TokenUsage(promptTokens: 7, completionTokens: 2))
        }
        let request = try #require(server.requests.first)
        #expect(request.json?["stream"] == false)
        #expect(request.json?["stream_options"] == nil)
        #expect(server.connections <= 2, "the probe may have had its own")
        engine.stop()

        let mute = try await ScriptedServer { request, _ in
            request.has("GET /v1/models") ? [.json("200 OK", "{}"), .close] : []
        }
        var bounds = FaultEngine.quick
        bounds.stall = .milliseconds(1)
        bounds.answer = .milliseconds(300)
        let patient = await Self.engine(mute, bounds: bounds)
        let error = await thrownError { _ = try await patient.answer(Self.readWhole) }
        #expect(error?.message.contains("the answer took more than") == true, "\(error.debugDescription)")
        let reader = Task { for try await _ in patient.generate(Self.readWhole) {} }
        reader.cancel()
        _ = await reader.result
        try await reach { mute.open == 0 }
        try await reach { patient.load().running == 0 }
        patient.stop()
    }

    @Test("one that streams all the same is understood; behind a proxy without patience it is asked to stream, once")
    func noWholeAnswers() async throws {
        let streaming = try await ScriptedServer { _, _ in ScriptedServer.Step.answer("Hel", "lo") }
        let engine = await Self.engine(streaming)
        #expect(try await engine.answer(Self.readWhole).text == "Hello")
        engine.stop()

        let impatient = try await ScriptedServer { request, _ in
            if request.has("GET /v1/models") { return [.json("200 OK", "{}")] }
            if request.json?["stream"] == false { return [.json("504 Gateway Timeout", "")] }
            return ScriptedServer.Step.answer("Hello")
        }
        let other = await Self.engine(impatient)
        for _ in 0..<2 { #expect(try await other.answer(Self.readWhole).text == "Hello") }
        #expect(impatient.requests.count { $0.has("POST") } == 3, "what was learnt is kept")
        other.stop()
    }

    @Test(
        "learns from a refusal how a strict upstream wants to be asked, once",
        arguments: [
            (#"{"error":{"message":"Unsupported parameter","param":"FIELD","code":"unsupported_parameter"}}"#, "400"),
            (#"{"detail":[{"type":"extra_forbidden","loc":["body","FIELD"],"msg":"no"}]}"#, "422"),
            (#"{"error":{"message":"property 'FIELD' is unsupported"}}"#, "400"),
        ])
    func strict(refusal: String, status: String) async throws {
        let server = try await ScriptedServer { request, _ in
            if request.has("GET /v1/models") { return [.json("200 OK", "{}")] }
            for field in ["max_tokens", "store"] where request.json?[field] != nil {
                return [.json("\(status) Refused", refusal.replacing("FIELD", with: field))]
            }
            return ScriptedServer.Step.answer("Hello")
        }
        let engine = await Self.engine(server)
        #expect(try await engine.answer().text == "Hello")
        let first = server.requests.count { $0.has("POST") }
        #expect(try await engine.answer().text == "Hello")
        #expect(first == 3 && server.requests.count { $0.has("POST") } == 4, "what was learnt is kept")
        #expect(server.requests.last?.json?["max_completion_tokens"] == 64)
        engine.stop()
    }

    @Test("a refusal of anything else is the client's")
    func otherRefusals() async throws {
        let server = try await ScriptedServer { request, _ in
            if request.has("GET /v1/models") { return [.json("200 OK", "{}")] }
            return [
                .json("400 Refused", #"{"error":{"message":"no such thing in store: max_tokens","param":"tools"}}"#)
            ]
        }
        let engine = await Self.engine(server)
        #expect(await thrownError { _ = try await engine.answer() }?.code == .invalidRequest)
        #expect(server.requests.count { $0.has("POST") } == 1)
        engine.stop()
    }

    @Test("is asked with all that a request holds")
    func body() async throws {
        let server = try await ScriptedServer { _, _ in ScriptedServer.Step.answer("x") }
        let engine = await Self.engine(server, context: 4_096)
        let call = ToolCall(id: "c1", name: "f", arguments: #"{"a":1}"#)
        var request = GenerationRequest(
            messages: [
                Message(.system, "s"), Message(.user, "u"), Message(.assistant, "", toolCalls: [call]),
                Message(.tool, "r", toolCallID: "c1"),
            ], maximumTokens: 9_999, stop: ["END"])
        request.sampling = Sampling(temperature: 0.5, topP: 0.9, seed: 7, presencePenalty: 1)
        request.sampling.logitBias = [5: -100, 3: 1.5]
        request.shape = AnswerShape(
            format: .jsonSchema(name: "n", schema: ["type": "object"]),
            tools: [Tool(name: "f", description: "d", parameters: ["type": "object"], isStrict: true)],
            toolChoice: .named("f"), parallelToolCalls: false, logprobs: 0)
        _ = try await engine.generate(request).collected()
        let json = try #require(server.requests.first?.json)
        #expect(
            json["messages"]?.text == #"""
                [{"role":"system","content":"s"},{"role":"user","content":"u"},{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]},{"role":"tool","content":"r","tool_call_id":"c1"}]
                """#)
        #expect(
            json["tools"]?.text == #"""
                [{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"},"strict":true}}]
                """#)
        #expect(json["tool_choice"] == ["type": "function", "function": ["name": "f"]])
        #expect(json["parallel_tool_calls"] == false)
        #expect(json["response_format"]?["json_schema"]?["schema"] == ["type": "object"])
        #expect(json["logprobs"] == true)
        #expect(json["top_logprobs"] == 1)
        #expect(json["logit_bias"] == ["3": 1.5, "5": -100.0])
        #expect(json["stop"] == ["END"])
        #expect(json["seed"] == 7)
        #expect(json["max_tokens"] == nil, "more than the context leaves is left to the upstream")
        engine.stop()
    }

    @Test(
        "a refusal is told by its meaning, named, and quotes nothing",
        arguments: [
            ("401 Unauthorized", "{\"error\":{\"message\":\"bad key sesame-4711\"}}", RuntimeError.Code.configuration),
            ("302 Found", "secret prompt", .configuration), ("500 Oops", "secret prompt", .engineFailed),
            (
                "400 Bad", "{\"error\":{\"code\":\"context_length_exceeded\",\"message\":\"secret\"}}",
                .contextLengthExceeded
            ),
            ("429 Slow", "{}", .overloaded),
        ])
    func refusals(status: String, body: String, code: RuntimeError.Code) async throws {
        let server = try await ScriptedServer { request, _ in
            [.json(status, body, headers: "location: http://127.0.0.1:1/steal\r\nretry-after: 17\r\n")]
        }
        let engine = await Self.engine(server)
        let error = await thrownError { _ = try await engine.answer() }
        #expect(error?.code == code)
        #expect(error?.message.contains("127.0.0.1:\(server.port)") == true)
        #expect(error?.message.contains("secret") == false)
        #expect(error.map { "\($0)" }?.contains("sesame") == false)
        if code == .overloaded { #expect(error?.retryAfter == .seconds(17)) }
        #expect(server.requests.count == 1, "a refusal is not asked for twice, a redirect not followed")
        engine.stop()
    }

    @Test("a connection lost before the first event is tried once more, and only then")
    func retries() async throws {
        let early = try await ScriptedServer { request, _ in
            request.has("GET /v1/models") ? [.json("200 OK", "{}")] : [.eventHead, .close]
        }
        let engine = await Self.engine(early)
        #expect(await thrownError { _ = try await engine.answer() }?.code == .engineFailed)
        #expect(early.requests.count == 2)
        engine.stop()

        let late = try await ScriptedServer { _, _ in [.eventHead, .text("begun"), .close] }
        let other = await Self.engine(late)
        let (error, bytes) = try await readLate(other.generate(.tick)) {}
        #expect(error?.code == .engineFailed)
        #expect(bytes == 5)
        #expect(late.requests.count == 1)
        other.stop()
    }

    @Test(
        "what is no answer fails cleanly",
        arguments: [
            "garbage\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 30\r\n\r\ndata: {\"choices\":[{}]}",
        ])
    func garbage(text: String) async throws {
        let server = try await ScriptedServer { _, _ in [.write(text), .close] }
        let engine = await Self.engine(server)
        #expect(await thrownError { _ = try await engine.answer() }?.code == .engineFailed)
        engine.stop()
    }

    @Test("an upstream that falls silent is given up")
    func silence() async throws {
        var bounds = FaultEngine.quick
        bounds.stall = .milliseconds(300)
        for steps in [[], [ScriptedServer.Step.eventHead], [.eventHead, .text("a")]] {
            let server = try await ScriptedServer { request, _ in
                request.has("GET /v1/models") ? [.json("200 OK", "{}"), .close] : steps
            }
            let engine = await Self.engine(server, bounds: bounds)
            #expect(await thrownError { _ = try await engine.answer() }?.code == .engineFailed)
            try await reach { server.open == 0 }
            try await reach { engine.load().running == 0 }
            engine.stop()
        }
    }

    @Test("one that is not there is named, and waited for")
    func unreachable() async throws {
        var options = RemoteEngine.Options(name: "office", url: "http://127.0.0.1:1/v1", model: "m")
        options.key = Secret("k")
        let engine = RemoteEngine(options, bounds: FaultEngine.quick, log: FaultEngine.quiet)
        engine.start()
        let error = await thrownError { _ = try await engine.answer() }
        #expect(error?.code == .unavailable)
        #expect(error?.message.contains("127.0.0.1:1") == true)
        #expect(engine.state().word == "restarting")
        engine.stop()
    }

    @Test("a reader that goes away closes the connection")
    func vanishedReader() async throws {
        let server = try await ScriptedServer { request, _ in
            request.has("GET /v1/models")
                ? [.json("200 OK", "{}", headers: "connection: close\r\n"), .close]
                : [.eventHead, .text("a")]
        }
        let engine = await Self.engine(server)
        for isCancelled in [false, true] {
            let reader = Task {
                for try await _ in engine.generate(.tick) where !isCancelled { return }
            }
            if isCancelled {
                try await reach { server.open == 1 }
                reader.cancel()
            }
            _ = await reader.result
            try await reach { server.open == 0 }
            try await reach { engine.load().running == 0 }
        }
        engine.stop()
    }

    @Test("a reader that reads nothing pauses the upstream, and loses the answer in the end")
    func unread() async throws {
        var bounds = FaultEngine.quick
        bounds.unreadStall = .milliseconds(500)
        let event = "data: {\"choices\":[{\"delta\":{\"content\":\"\(String(repeating: "x", count: 900))\"}}]}\n\n"
        let chunk = "\(String(event.utf8.count, radix: 16))\r\n\(event)\r\n"
        let server = try await ScriptedServer { request, _ in
            request.has("GET /v1/models") ? [.json("200 OK", "{}"), .close] : [.eventHead, .flood(chunk)]
        }
        let engine = await Self.engine(server, bounds: bounds)
        let (error, _) = try await readLate(engine.generate(.tick)) {
            // The connection's end is the engine's verdict: nobody reads.
            try await reach { server.flooded > 100_000 && server.open == 0 }
        }
        #expect(error?.code == .timedOut)
        #expect(server.flooded < 24 * 1024 * 1024, "what the system buffers, and a little more")
        engine.stop()
    }

    @Test("requests beyond its slots wait; those that are given up leave the queue")
    func queue() async throws {
        let server = try await ScriptedServer { _, _ in [.eventHead, .text("a")] }
        let engine = await Self.engine(server, slots: 1)
        let first = Task { for try await _ in engine.generate(.tick) {} }
        try await reach { engine.load().running == 1 }
        let second = Task { for try await _ in engine.generate(.tick) {} }
        try await reach { engine.load().waiting == 1 }
        second.cancel()
        _ = await second.result
        try await reach { engine.load().waiting == 0 }
        let third = Task { for try await _ in engine.generate(.tick) { return } }
        try await reach { engine.load().waiting == 1 }
        first.cancel()
        try await third.value
        try await reach { engine.load().running == 0 }
        engine.stop()
    }

    @Test("makes embeddings where it is said to, in the order of the texts")
    func embeddings() async throws {
        let server = try await ScriptedServer { _, number in
            let data = #"[{"index":1,"embedding":[2,2.5]},{"index":0,"embedding":[1]}]"#
            return [.json("200 OK", #"{"data":\#(data),"usage":{"prompt_tokens":4}}"#)]
        }
        let engine = await Self.engine(server, capabilities: [.embeddings])
        let result = try await engine.embed(["a", "b"])
        #expect(result == Embeddings(vectors: [[1], [2, 2.5]], promptTokens: 4))
        #expect(server.requests.first?.json?["input"] == ["a", "b"])
        #expect(await thrownError { _ = try await engine.embed(["a", "b", "c"]) }?.code == .engineFailed)
        engine.stop()
        let other = await Self.engine(server, capabilities: [])
        #expect(await thrownError { _ = try await other.embed(["a"]) }?.code == .invalidRequest)
        other.stop()
    }
}
