import Core
import Testing

@testable import Engine

@Suite("The stream of an upstream's answer")
struct ChatStreamTests {
    private static func stream(logprobs: Int? = nil, outputLimit: Int = 1_000) -> ChatStream {
        var request = GenerationRequest(messages: [Message(.user, "hi")], maximumTokens: 5)
        request.shape.logprobs = logprobs
        return ChatStream(subject: "the engine of x", request: request, estimate: 9, outputLimit: outputLimit)
    }

    private static func events(_ lines: String..., logprobs: Int? = nil) throws -> [GenerationEvent] {
        var stream = stream(logprobs: logprobs)
        return try lines.flatMap { try stream.append(Array("data: \($0)\n\n".utf8)) }
    }

    private static let stop = #"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#

    @Test("is read the same however it is cut, with comments, carriage returns and fields that say nothing")
    func cuts() throws {
        let text =
            ": ping\r\n\r\nevent: x\nid: 1\ndata:{\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":null}}]}\n\n"
            + "data: {\"choices\":[{\"delta\":\ndata: {\"content\":\"Zü\"}}]}\r\n\r\ndata: \(Self.stop)\n\n"
            + "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,"
            + "\"prompt_tokens_details\":{\"cached_tokens\":1}}}\n\ndata: [DONE]\n\ndata: garbage\n\n"
        let usage = TokenUsage(promptTokens: 3, completionTokens: 2, cachedTokens: 1)
        let bytes = Array(text.utf8)
        for size in [1, 2, 3, 7, 64, bytes.count] {
            var stream = Self.stream()
            var events: [GenerationEvent] = []
            for start in stride(from: 0, to: bytes.count, by: size) {
                events += try stream.append(Array(bytes[start..<min(start + size, bytes.count)]))
            }
            #expect(events == [.text("Zü"), .finished(reason: .stop, usage: usage)], "pieces of \(size)")
            #expect(stream.isComplete)
        }
    }

    @Test("thoughts come apart from the text, under either name")
    func reasoning() throws {
        let events = try Self.events(
            #"{"choices":[{"delta":{"reasoning_content":"hm"}}]}"#, #"{"choices":[{"delta":{"reasoning":"m"}}]}"#,
            #"{"choices":[{"delta":{"content":"yes"}},{"index":1,"delta":{"content":"another choice"}}]}"#)
        #expect(events == [.reasoning("hm"), .reasoning("m"), .text("yes")])
    }

    @Test("log-probabilities stand before the text of their tokens; an impossible token has a number too")
    func logprobs() throws {
        let line = #"""
            {"choices":[{"delta":{"content":"é"},"logprobs":{"content":[{"token":"\ufffd","bytes":[195],"logprob":-0.5,
            "top_logprobs":[{"token":"a","logprob":null},{"token":"b","bytes":[98],"logprob":-2}]}]}}]}
            """#
        let chosen = TokenProbability.Alternative(token: "\u{FFFD}", bytes: [195], logprob: -0.5)
        let other = TokenProbability.Alternative(token: "a", bytes: [97], logprob: -9_999)
        let flat = String(line.map { $0.isNewline ? " " : $0 })
        #expect(
            try Self.events(flat, logprobs: 1)
                == [.logprobs([TokenProbability(chosen: chosen, alternatives: [other])]), .text("é")])
        #expect(try Self.events(flat) == [.text("é")], "nobody asked for them")
    }

    @Test("an answer in one piece has the same events")
    func whole() throws {
        var stream = Self.stream()
        let events = try stream.whole(
            Array(
                #"""
                {"choices":[{"index":0,"message":{"role":"assistant","content":"Hi","reasoning_content":"hm","tool_calls":[
                {"id":"a","type":"function","function":{"name":"f","arguments":"{}"}},
                {"id":"b","type":"function","function":{"name":"g","arguments":"{\"y\":2}"}}]},"finish_reason":"tool_calls"}],
                "usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}
                """#.utf8))
        #expect(
            events == [
                .reasoning("hm"), .text("Hi"),
                .toolCall(ToolCallPiece(index: 0, id: "a", name: "f", arguments: "{}")),
                .toolCall(ToolCallPiece(index: 1, id: "b", name: "g", arguments: #"{"y":2}"#)),
                .finished(reason: .toolCalls, usage: TokenUsage(promptTokens: 3, completionTokens: 2)),
            ])
        #expect(stream.isComplete)
    }

    @Test(
        "an answer in one piece that is none is the engine's failure, and nothing of it is quoted",
        arguments: ["", "secret", "[1]", "{}", #"{"choices":[]}"#, #"{"error":{"message":"secret"}}"#])
    func noWhole(body: String) async {
        var stream = Self.stream()
        let error = await thrownError { _ = try stream.whole(Array(body.utf8)) }
        #expect(error?.code == .engineFailed)
        #expect(error?.message.contains("secret") == false)
    }

    @Test("tool calls are numbered in their order, whatever the upstream calls them")
    func toolCalls() throws {
        let events = try Self.events(
            #"{"choices":[{"delta":{"tool_calls":[{"index":3,"id":"a","function":{"name":"f","arguments":""}}]}}]}"#,
            #"{"choices":[{"delta":{"tool_calls":[{"index":3,"function":{"arguments":"{\"x\""}}]}}]}"#,
            #"{"choices":[{"delta":{"tool_calls":[{"index":3,"function":{"arguments":":1}"}}]}}]}"#,
            #"{"choices":[{"delta":{"tool_calls":[{"index":5,"id":"b","function":{"name":"g","arguments":{"y":2}}}]}}]}"#,
            Self.stop, "[DONE]")
        #expect(
            events == [
                .toolCall(ToolCallPiece(index: 0, id: "a", name: "f")),
                .toolCall(ToolCallPiece(index: 0, arguments: #"{"x""#)),
                .toolCall(ToolCallPiece(index: 0, arguments: ":1}")),
                .toolCall(ToolCallPiece(index: 1, id: "b", name: "g", arguments: #"{"y":2}"#)),
                .finished(
                    reason: .toolCalls, usage: TokenUsage(promptTokens: 9, completionTokens: 4, isExact: false)),
            ])
        let unnumbered = try Self.events(
            #"{"choices":[{"delta":{"tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}}]}"#,
            #"{"choices":[{"delta":{"tool_calls":[{"function":{"name":"g","arguments":"{}"}}]}}]}"#)
        var message = Message(.assistant, "")
        for case .toolCall(let piece) in unnumbered { try message.add(piece) }
        #expect(message.toolCalls.map(\.name) == ["f", "g"])
        #expect(Set(message.toolCalls.map(\.id)).count == 2)
    }

    @Test(
        "absurd counts are bounded",
        arguments: [("-5", 0), ("9223372036854775807", Int(Int32.max)), ("1e300", 0), ("\"7\"", 0), ("null", 0)])
    func counts(written: String, read: Int) throws {
        let usage = #"{"choices":[],"usage":{"prompt_tokens":\#(written),"completion_tokens":\#(written)}}"#
        let events = try Self.events(Self.stop, usage, "[DONE]")
        let counts = TokenUsage(promptTokens: read, completionTokens: read)
        #expect(events == [.finished(reason: .stop, usage: counts)])
    }

    @Test(
        "what is no answer is the engine's failure, and nothing of it is quoted",
        arguments: [
            "secret", "[1]", #""secret""#, #"{"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}"#, "[DONE]",
            #"{"error":{"message":"secret","type":"server_error"}}"#,
            #"{"choices":[{"delta":{"content":"\#(String(repeating: "x", count: 1_001))"}}]}"#,
        ])
    func failures(data: String) async {
        let error = await thrownError { _ = try Self.events(data) }
        #expect(error?.code == .engineFailed)
        #expect(error?.message.contains("secret") == false)
    }

    @Test("an event without end is refused")
    func endless() async {
        var stream = Self.stream()
        let piece = Array(repeating: UInt8(ascii: "x"), count: 1 << 20)
        let error = await thrownError { for _ in 0..<9 { _ = try stream.append(piece) } }
        #expect(error?.code == .engineFailed)
    }

    @Test("seeded garbage never traps")
    func garbage() {
        var random = SystemRandomNumberGenerator()
        let seed = random.next()
        var state = seed
        let alphabet =
            Array("data: {}[]\",:\\u0\n\r1e-choices delta content index usage error [DONE]".utf8) + [0xFF, 0xC3]
        for _ in 0..<2_000 {
            var stream = Self.stream(logprobs: 1)
            let bytes = (0..<60).map { _ -> UInt8 in
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return alphabet[Int(state >> 33) % alphabet.count]
            }
            _ = try? stream.append(Array("data: ".utf8) + bytes + Array("\n\n".utf8))
        }
    }
}

@Suite("What an upstream's refusal means")
struct UpstreamErrorTests {
    @Test(
        "each status has its code, and its words stay out",
        arguments: [
            (400, #"{"type":"exceed_context_size_error","message":"secret"}"#, RuntimeError.Code.contextLengthExceeded),
            (400, #"{"code":"context_length_exceeded","message":"secret"}"#, .contextLengthExceeded),
            (400, #"{"message":"bad json schema secret"}"#, .invalidRequest), (401, "{}", .configuration),
            (302, "{}", .configuration), (404, #"{"message":"secret"}"#, .configuration), (413, "{}", .tooLarge),
            (429, "{}", .overloaded), (503, #"{"message":"Loading model secret"}"#, .unavailable),
            (500, #"{"message":"secret"}"#, .engineFailed), (504, "{}", .timedOut), (418, "null", .engineFailed),
        ])
    func codes(status: Int, error: String, code: RuntimeError.Code) throws {
        let result = UpstreamError("the upstream x").reported(try JSON.parse(error), status: status)
        #expect(result.code == code)
        #expect(result.message.contains("the upstream x"))
        #expect(!result.message.contains("secret"))
    }

    @Test("names the field of a schema that cannot be used")
    func field() throws {
        let error = try JSON.parse(#"{"message":"JSON schema error at #: unrecognized type nonsense"}"#)
        #expect(UpstreamError("x").reported(error, status: 400).parameter == "response_format")
    }
}

@Suite("The address of an upstream")
struct HTTPTargetTests {
    @Test func addresses() throws {
        let plain = try HTTPTarget(url: "http://10.0.0.9:8000/v1/")
        #expect(plain.address == .network(host: "10.0.0.9", port: 8_000, isSecure: false))
        #expect(plain.authority == "10.0.0.9:8000")
        #expect(plain.prefix == "/v1")
        let secure = try HTTPTarget(url: "https://[fe80::1]")
        #expect(secure.address == .network(host: "fe80::1", port: 443, isSecure: true))
        #expect(secure.prefix == "")
    }

    @Test(arguments: [
        "ftp://x", "http://", "http://a:0/", "http://a:99999", "http://u:p@a/", "http://a/?k=v", "http://a b",
    ])
    func refusals(url: String) async {
        #expect(await thrownError { _ = try HTTPTarget(url: url) }?.code == .configuration)
    }
}

@Suite("Which conversation lies in which slot")
struct SlotTableTests {
    private let a = Bytes16(high: 1, low: 1)
    private let b = Bytes16(high: 1, low: 2)
    private let c = Bytes16(high: 1, low: 3)

    @Test("a conversation comes back to its slot while that is idle")
    func affinity() {
        var table = SlotTable(count: 2)
        #expect(table.assign(a, to: RequestID(number: 1)) == 0)
        #expect(table.assign(b, to: RequestID(number: 2)) == 1)
        table.release(RequestID(number: 1))
        table.release(RequestID(number: 2))
        #expect(table.assign(b, to: RequestID(number: 3)) == 1)
        #expect(table.assign(a, to: RequestID(number: 4)) == 0)
    }

    @Test("a busy slot is waited for by nobody, and no cold one is asked for in its place")
    func busy() {
        var table = SlotTable(count: 2)
        #expect(table.assign(a, to: RequestID(number: 1)) == 0)
        #expect(table.assign(a, to: RequestID(number: 2)) == nil, "the server knows whether it is idle by now")
        table.release(RequestID(number: 1))
        #expect(table.assign(a, to: RequestID(number: 3)) == 0)
        #expect(table.assign(b, to: RequestID(number: 4)) == 1, "an unused one")
    }

    @Test("what the server may have put elsewhere is forgotten")
    func displaced() {
        var table = SlotTable(count: 1)
        #expect(table.assign(a, to: RequestID(number: 1)) == 0)
        table.release(RequestID(number: 1))
        #expect(table.assign(c, to: RequestID(number: 2)) == nil)
        table.release(RequestID(number: 2))
        #expect(table.assign(a, to: RequestID(number: 3)) == nil)
    }
}
