import Core
import HTTPTypes
import Testing

@testable import Gateway

@Suite struct ChatCompletionRequestTests {
    private static func decode(_ text: String, _ headers: HTTPFields = [:]) throws -> ChatCompletionRequest {
        try ChatCompletionRequest(JSON.parse(text), headers: headers)
    }

    /// A request with one user turn and `more` members.
    private static func body(_ more: String) -> String {
        #"{"model":"phi3","messages":[{"role":"user","content":"hi"}],\#(more)}"#
    }

    @Test("every supported field arrives in the canonical request")
    func fields() throws {
        let request = try Self.decode(
            Self.body(
                #""stream":true,"stream_options":{"include_usage":true},"max_tokens":7,"max_completion_tokens":9,"n":3,"#
                    + #""stop":["a","b"],"seed":-1,"temperature":0.5,"top_p":1,"top_k":40,"min_p":0.05,"#
                    + #""presence_penalty":-2,"frequency_penalty":2.0,"user":"u1""#),
            [.idempotencyKey: "key-1", .stainlessRetryCount: "2"])
        #expect(request.streams && request.includesUsage)
        #expect(request.chat.model == "phi3")
        #expect(request.chat.messages == [Message(.user, "hi")])
        #expect(request.chat.maximumTokens == 9)
        #expect(request.chat.choices == 3)
        #expect(request.chat.stop == ["a", "b"])
        #expect(
            request.chat.sampling
                == Sampling(
                    temperature: 0.5, topP: 1, topK: 40, minP: 0.05, seed: .max, presencePenalty: -2,
                    frequencyPenalty: 2))
        #expect(request.chat.user == "u1")
        #expect(request.chat.idempotencyKey == "key-1")
        #expect(request.chat.isRetry)
    }

    @Test("what is not asked for keeps its default")
    func defaults() throws {
        let request = try Self.decode(#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#)
        #expect(!request.streams && !request.includesUsage && !request.chat.isRetry)
        #expect(request.chat.maximumTokens == nil && request.chat.choices == 1 && request.chat.stop.isEmpty)
        #expect(request.chat.sampling == Sampling())
        #expect(request.chat.continuation == .automatic)
    }

    @Test("roles and parts become plain messages")
    func messages() throws {
        let request = try Self.decode(
            #"{"model":"m","messages":[{"role":"system","content":"s"},{"role":"developer","content":"d"},"#
                + #"{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},"#
                + #"{"role":"assistant","content":null,"refusal":"no","tool_calls":[]},"#
                + #"{"role":"user","content":"é","name":"bob"}]}"#)
        #expect(
            request.chat.messages == [
                Message(.system, "s"), Message(.system, "d"), Message(.user, "a\nb"), Message(.assistant, "no"),
                Message(.user, "é"),
            ])
    }

    @Test("tools, the choice among them, and what they gave back arrive in the canonical request")
    func tools() throws {
        let request = try Self.decode(
            #"{"model":"m","messages":[{"role":"user","content":"rain?"},{"role":"assistant","content":null,"#
                + #""reasoning_content":"hm","tool_calls":[{"id":"call_1","type":"function","function":{"name":"f","arguments":"{}"}}]},"#
                + #"{"role":"tool","tool_call_id":"call_1","content":""}],"parallel_tool_calls":false,"#
                + #""tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"},"strict":true}}],"#
                + #""tool_choice":{"type":"function","function":{"name":"f"}}}"#)
        #expect(
            request.chat.messages == [
                Message(.user, "rain?"),
                Message(.assistant, "", toolCalls: [ToolCall(id: "call_1", name: "f", arguments: "{}")]),
                Message(.tool, "", toolCallID: "call_1"),
            ])
        let shape = request.chat.shape
        #expect(shape.tools == [Tool(name: "f", description: "d", parameters: ["type": "object"], isStrict: true)])
        #expect(shape.toolChoice == .named("f") && shape.parallelToolCalls == false)
        let free = #""tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"#
        #expect(try Self.decode(Self.body(free + #""none""#)).chat.shape.toolChoice == .none)
        #expect(try Self.decode(Self.body(free + #""required""#)).chat.shape.toolChoice == .required)
    }

    @Test("formats, log-probabilities and biases arrive in the canonical request")
    func shapes() throws {
        let request = try Self.decode(
            Self.body(
                #""logprobs":true,"top_logprobs":3,"logit_bias":{"5":-100,"6":1.5},"response_format":"#
                    + #"{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"object"}}}"#))
        #expect(request.chat.shape.format == .jsonSchema(name: "n", schema: ["type": "object"]))
        #expect(request.chat.shape.logprobs == 3)
        #expect(request.chat.sampling.logitBias == [5: -100, 6: 1.5])
        #expect(try Self.decode(Self.body(#""logprobs":true"#)).chat.shape.logprobs == 0)
        #expect(
            try Self.decode(Self.body(#""response_format":{"type":"json_object"}"#)).chat.shape.format == .jsonObject)
    }

    @Test(
        "harmless defaults and unknown fields are accepted",
        arguments: [
            #""response_format":{"type":"text"}"#, #""tools":[]"#, #""tools":null"#, #""tool_choice":"none""#,
            #""tool_choice":"auto""#, #""functions":[]"#, #""function_call":"none""#, #""logprobs":false"#,
            #""top_logprobs":0"#, #""logit_bias":{}"#, #""parallel_tool_calls":true"#, #""reasoning_effort":"low""#,
            #""modalities":["text"]"#, #""audio":null"#, #""service_tier":"auto""#, #""safety_identifier":"x""#,
            #""prompt_cache_key":"x""#, #""made_up":{"a":[1]}"#, #""n":1.0"#, #""temperature":null"#, #""stop":null"#,
            #""store":true"#, #""metadata":{}"#, #""reasoning_content":"x""#,
        ])
    func harmless(_ member: String) throws {
        _ = try Self.decode(Self.body(member))
    }

    @Test(
        "a field that is wrong or asks too much is refused by its name",
        arguments: [
            (#""temperature":2.01"#, "temperature"), (#""temperature":-0.1"#, "temperature"),
            (#""temperature":"1""#, "temperature"), (#""top_p":1.1"#, "top_p"), (#""min_p":-1"#, "min_p"),
            (#""top_k":-1"#, "top_k"), (#""top_k":1.5"#, "top_k"), (#""presence_penalty":2.1"#, "presence_penalty"),
            (#""frequency_penalty":-3"#, "frequency_penalty"), (#""max_tokens":0"#, "max_tokens"),
            (#""max_tokens":1.5"#, "max_tokens"), (#""max_tokens":1e300"#, "max_tokens"),
            (#""max_completion_tokens":-1"#, "max_completion_tokens"), (#""n":0"#, "n"), (#""n":17"#, "n"),
            (#""seed":1e30"#, "seed"), (#""seed":"x""#, "seed"), (#""stop":"""#, "stop"), (#""stop":[""]"#, "stop"),
            (#""stop":[1]"#, "stop"), (#""stop":7"#, "stop"), (#""stop":{}"#, "stop"),
            (#""stop":["1","2","3","4","5","6","7","8","9","0","a","b","c","d","e","f","g"]"#, "stop"),
            (#""stream":"yes""#, "stream"), (#""stream_options":true"#, "stream_options"),
            (#""stream_options":{"include_usage":1}"#, "stream_options.include_usage"), (#""user":1"#, "user"),
            (#""metadata":[]"#, "metadata"), (#""metadata":{"a":1}"#, "metadata"), (#""store":"no""#, "store"),
            (#""conversation":"""#, "conversation"), (#""conversation":{}"#, "conversation"),
            (#""conversation":"a b""#, "conversation"), (#""conversation":1"#, "conversation"),
            (#""metadata":{"conversation_id":"ä"}"#, "metadata.conversation_id"),
            (#""tools":[{"type":"function"}]"#, "tools[0].function"), (#""tools":[1]"#, "tools[0]"),
            (#""tools":{}"#, "tools"), (#""tools":[{"type":"custom","custom":{}}]"#, "tools[0].type"),
            (#""tools":[{"type":"function","function":{"name":"a b"}}]"#, "tools[0].function.name"),
            (#""tools":[{"type":"function","function":{"name":"f","parameters":1}}]"#, "tools[0].function.parameters"),
            (#""tool_choice":"required""#, "tool_choice"), (#""tool_choice":"always""#, "tool_choice"),
            (#""tool_choice":{"type":"function"}"#, "tool_choice"), (#""tool_choice":3"#, "tool_choice"),
            (#""tool_choice":{"type":"function","function":{"name":"g"}}"#, "tool_choice"),
            (#""parallel_tool_calls":1"#, "parallel_tool_calls"), (#""functions":[{}]"#, "functions"),
            (#""function_call":{"name":"f"}"#, "function_call"), (#""logprobs":1"#, "logprobs"),
            (#""top_logprobs":3"#, "top_logprobs"), (#""logprobs":true,"top_logprobs":21"#, "top_logprobs"),
            (#""logit_bias":{"a":1}"#, "logit_bias"), (#""logit_bias":{"5":101}"#, "logit_bias"),
            (#""response_format":{"type":"xml"}"#, "response_format.type"),
            (#""response_format":{"type":"json_schema"}"#, "response_format.json_schema"),
            (
                #""response_format":{"type":"json_schema","json_schema":{"name":"n"}}"#,
                "response_format.json_schema.schema"
            ),
            (#""response_format":"x""#, "response_format"),
            (#""audio":{"voice":"a"}"#, "audio"), (#""modalities":["text","audio"]"#, "modalities"),
            (#""web_search_options":{"a":1}"#, "web_search_options"),
        ])
    func refusals(_ member: String, _ parameter: String) {
        let error = #expect(throws: RuntimeError.self) { try Self.decode(Self.body(member)) }
        #expect(error?.code == .invalidRequest)
        #expect(error?.parameter == parameter)
    }

    @Test(
        "a wrong message is refused by its place",
        arguments: [
            (#"{"messages":[{"role":"user","content":"hi"}]}"#, "model"),
            (#"{"model":"","messages":[{"role":"user","content":"hi"}]}"#, "model"),
            (#"{"model":3,"messages":[{"role":"user","content":"hi"}]}"#, "model"),
            (#"{"model":"m"}"#, "messages"), (#"{"model":"m","messages":[]}"#, "messages"),
            (#"{"model":"m","messages":{}}"#, "messages"), (#"{"model":"m","messages":["hi"]}"#, "messages[0]"),
            (#"{"model":"m","messages":[{"content":"hi"}]}"#, "messages[0].role"),
            (#"{"model":"m","messages":[{"role":"boss","content":"hi"}]}"#, "messages[0].role"),
            (#"{"model":"m","messages":[{"role":"tool","content":"hi"}]}"#, "messages[0].tool_call_id"),
            (#"{"model":"m","messages":[{"role":"user"}]}"#, "messages[0].content"),
            (#"{"model":"m","messages":[{"role":"user","content":null}]}"#, "messages[0].content"),
            (#"{"model":"m","messages":[{"role":"user","content":7}]}"#, "messages[0].content"),
            (#"{"model":"m","messages":[{"role":"user","content":""}]}"#, "messages[0].content"),
            (#"{"model":"m","messages":[{"role":"user","content":[]}]}"#, "messages[0].content"),
            (#"{"model":"m","messages":[{"role":"user","content":[{}]}]}"#, "messages[0].content[0].type"),
            (#"{"model":"m","messages":[{"role":"user","content":["hi"]}]}"#, "messages[0].content[0].type"),
            (#"{"model":"m","messages":[{"role":"user","content":[{"type":"text"}]}]}"#, "messages[0].content[0].text"),
            (
                #"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{}}]}]}"#,
                "messages[0].content[1].type"
            ),
            (
                #"{"model":"m","messages":[{"role":"user","content":"a"},{"role":"assistant","content":null,"tool_calls":[{"id":"1"}]},{"role":"user","content":"b"}]}"#,
                "messages[1].tool_calls[0].function"
            ),
            (
                #"{"model":"m","messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}"#,
                "messages"
            ),
        ])
    func messageRefusals(_ body: String, _ parameter: String) {
        let error = #expect(throws: RuntimeError.self) { try Self.decode(body) }
        #expect(error?.code == .invalidRequest)
        #expect(error?.parameter == parameter)
    }

    @Test("a body that is no object is refused", arguments: ["[]", "1", "\"x\"", "null"])
    func noObject(_ body: String) {
        #expect(throws: RuntimeError.self) { try Self.decode(body) }
    }

    @Test("a conversation is named by body, header or metadata, in this order, and store:false beats them")
    func continuation() throws {
        func continuation(_ more: String, _ header: String? = nil) throws -> ChatRequest.Continuation {
            try Self.decode(Self.body(more), header.map { [.conversationID: $0] } ?? [:]).chat.continuation
        }
        func named(_ id: String) throws -> ChatRequest.Continuation { .conversation(try #require(ConversationID(id))) }
        let inMetadata = #""metadata":{"conversation_id":"m"}"#
        #expect(try continuation(#""conversation":"b",\#(inMetadata)"#, "h") == named("b"))
        #expect(try continuation(#""conversation":{"id":"b"}"#) == named("b"))
        #expect(try continuation(inMetadata, "h") == named("h"))
        #expect(try continuation(inMetadata) == named("m"))
        #expect(try continuation(#""store":false,"conversation":"b""#, "h") == .off)
        #expect(try continuation(#""store":true"#) == .automatic)
    }

    @Test("a header that cannot be an id is refused by its name")
    func headers() {
        let conversation = #expect(throws: RuntimeError.self) {
            try Self.decode(Self.body(#""n":1"#), [.conversationID: String(repeating: "x", count: 201)])
        }
        #expect(conversation?.parameter == "X-Conversation-Id")
        let key = #expect(throws: RuntimeError.self) {
            try Self.decode(Self.body(#""n":1"#), [.idempotencyKey: String(repeating: "x", count: 256)])
        }
        #expect(key?.parameter == "Idempotency-Key")
    }

    @Test("random bodies are refused or understood, never fatal", arguments: 0..<200)
    func garbage(_ seed: UInt64) {
        var random = SplitMix(seed)
        let pieces = [
            "{", "}", "[", "]", ":", ",", "\"model\"", "\"messages\"", "\"role\"", "\"user\"", "\"content\"", "\"n\"",
            "1e999", "-0", "null", "true", "\"\\ud800\"", "\"stop\"", "\"type\"", "\"text\"", "9223372036854775808",
        ]
        let text = (0..<40).map { _ in pieces.randomElement(using: &random) ?? "" }.joined()
        // Both outcomes are right; the test is that there is one.
        _ = try? Self.decode(text)
        let wrapped = #"{"model":"m","messages":[{"role":"user","content":"#
        _ = try? Self.decode(wrapped + text + "}]}")
    }
}

/// A small seeded generator (Steele, Lea, Flood 2014).
struct SplitMix: RandomNumberGenerator {
    private var state: UInt64
    init(_ seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}
