import Core
import HTTPTypes
import Testing

@testable import Gateway

struct OllamaRequestTests {
    private func chat(
        _ more: String = "", messages: String = #"[{"role":"user","content":"hi"}]"#
    ) throws -> OllamaRequest {
        let text = #"{"model":"phi3","messages":\#(messages)\#(more.isEmpty ? "" : "," + more)}"#
        return try OllamaRequest(.chat, JSON.parse(text), headers: HTTPFields())
    }

    private func generate(_ more: String) throws -> OllamaRequest {
        try OllamaRequest(.generate, JSON.parse(#"{"model":"phi3",\#(more)}"#), headers: HTTPFields())
    }

    @Test func `the plain request streams and shows thoughts`() throws {
        let request = try chat()
        #expect(request.chat.messages == [Message(.user, "hi")])
        #expect(request.streams && request.showsThinking)
        #expect(request.keepAlive == nil)
        #expect(try chat(#""stream":false,"think":false"#).streams == false)
        #expect(try chat(#""stream":false,"think":false"#).showsThinking == false)
    }

    @Test func `options become sampling, and how to run the model is the host's business`() throws {
        let request = try chat(
            #""options":{"temperature":0.2,"top_k":5,"top_p":0.5,"min_p":0.1,"seed":7,"num_predict":9,"stop":["x"],"num_ctx":4096,"num_gpu":1}"#
        )
        #expect(request.chat.sampling == Sampling(temperature: 0.2, topP: 0.5, topK: 5, minP: 0.1, seed: 7))
        #expect(request.chat.maximumTokens == 9)
        #expect(request.chat.stop == ["x"])
        #expect(try chat(#""options":{"num_predict":-1,"seed":0}"#).chat.maximumTokens == nil)
    }

    @Test func `format and tools`() throws {
        #expect(try chat(#""format":"json""#).chat.shape.format == .jsonObject)
        #expect(try chat(#""format":"""#).chat.shape.format == .text)
        #expect(
            try chat(#""format":{"type":"object"}"#).chat.shape.format
                == .jsonSchema(name: "format", schema: ["type": "object"]))
        let tools = try chat(
            #""tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"}}}]"#
        ).chat.shape.tools
        #expect(tools == [Tool(name: "f", description: "d", parameters: ["type": "object"])])
    }

    @Test func `calls without ids get the same ones each time, and results find their calls`() throws {
        let messages = #"""
            [{"role":"user","content":"x"},
             {"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":{"a":1}}},
               {"function":{"name":"g"}}]},
             {"role":"tool","content":"of g","tool_name":"g"},{"role":"tool","content":"of f"}]
            """#
        let history = try chat(messages: messages).chat.messages
        #expect(
            history[1].toolCalls == [
                ToolCall(id: "call_1_0", name: "f", arguments: #"{"a":1}"#),
                ToolCall(id: "call_1_1", name: "g", arguments: "{}"),
            ])
        #expect(history.suffix(2).map(\.toolCallID) == ["call_1_1", "call_1_0"])
    }

    @Test func `generate has a prompt and instructions`() throws {
        let request = try generate(#""prompt":"hi","system":"be brief""#)
        #expect(request.chat.messages == [Message(.system, "be brief"), Message(.user, "hi")])
        #expect(try generate(#""keep_alive":0"#).isEmpty)
        #expect(try generate(#""prompt":"hi","suffix":"","context":[],"images":[]"#).isEmpty == false)
    }

    @Test(
        arguments: [
            ("0", KeepAlive.unloaded), ("-1", .forever), ("300", .loaded(.seconds(300))),
            (#""5m""#, .loaded(.seconds(300))), (#""1h30m""#, .loaded(.seconds(5_400))), (#""-1""#, .forever),
            (#""0s""#, .unloaded), (#""1.5s""#, .loaded(.seconds(1.5))),
        ])
    func `keep_alive is seconds or a duration`(text: String, value: KeepAlive) throws {
        #expect(try chat(#""keep_alive":\#(text)"#).keepAlive == value)
    }

    @Test(
        arguments: [
            (#""keep_alive":"soon""#, "keep_alive"), (#""keep_alive":true"#, "keep_alive"),
            (#""keep_alive":"5x""#, "keep_alive"), (#""keep_alive":1e300"#, "keep_alive"),
            (#""options":5"#, "options"), (#""options":{"temperature":"hot"}"#, "options.temperature"),
            (#""options":{"num_predict":0}"#, "options.num_predict"), (#""format":"xml""#, "format"),
            (#""tools":[{}]"#, "tools[0].function"), (#""think":"a lot""#, "think"), (#""stream":1"#, "stream"),
        ])
    func `a wrong field is refused by its name`(more: String, field: String) throws {
        #expect(try #require(throws: RuntimeError.self) { try chat(more) }.parameter == field)
    }

    @Test(
        arguments: [
            (#"[{"role":"user","content":"x","images":["abc"]}]"#, "messages[0].images"),
            (#"[{"role":"robot","content":"x"}]"#, "messages[0].role"),
            (#"[{"role":"user","content":""}]"#, "messages[0].content"),
            (#"[{"role":"system","content":"x"}]"#, "messages"), (#"[{"role":"assistant","content":"x"}]"#, "messages"),
            (#"[{"role":"tool","content":"x"}]"#, "messages[0].tool_name"),
            (#"[{"role":"user","content":5}]"#, "messages[0].content"),
        ])
    func `a wrong message is refused by its place`(messages: String, field: String) throws {
        #expect(try #require(throws: RuntimeError.self) { try chat(messages: messages) }.parameter == field)
    }

    @Test(arguments: ["suffix", "template", "raw", "images", "context"])
    func `what no engine does is refused by its name`(field: String) throws {
        let value = field == "raw" ? "true" : field == "images" || field == "context" ? "[1]" : #""x""#
        let error = try #require(throws: RuntimeError.self) { try generate(#""prompt":"x","\#(field)":\#(value)"#) }
        #expect(error.parameter == field)
    }
}
