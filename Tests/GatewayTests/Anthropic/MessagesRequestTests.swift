import Core
import HTTPTypes
import Testing

@testable import Gateway

struct MessagesRequestTests {
    private func request(
        _ more: String = "", messages: String = #"[{"role":"user","content":"hi"}]"#, headers: HTTPFields = HTTPFields()
    ) throws -> MessagesRequest {
        let text = #"{"model":"phi3","max_tokens":16,"messages":\#(messages)\#(more.isEmpty ? "" : "," + more)}"#
        return try MessagesRequest(JSON.parse(text), headers: headers)
    }

    private func chat(_ messages: String, _ more: String = "") throws -> [Message] {
        try request(more, messages: messages).chat.messages
    }

    @Test func `the plain request`() throws {
        let request = try request(
            #"""
            "system":"be brief","stop_sequences":["END"],"temperature":0.5,"top_k":4,"top_p":0.9,
            "metadata":{"user_id":"u1"},"unknown":1
            """#)
        #expect(request.chat.model == "phi3")
        #expect(request.chat.messages == [Message(.system, "be brief"), Message(.user, "hi")])
        #expect(request.chat.maximumTokens == 16)
        #expect(request.chat.stop == ["END"])
        #expect(request.chat.sampling == Sampling(temperature: 0.5, topP: 0.9, topK: 4))
        #expect(request.chat.user == "u1")
        #expect(request.chat.continuation == .automatic)
        #expect(!request.streams && !request.showsThinking)
    }

    @Test func `instructions and contents may be blocks`() throws {
        let messages = try chat(
            #"[{"role":"user","content":[{"type":"text","text":"a","cache_control":{"type":"ephemeral"}},{"type":"text","text":"b"}]}]"#,
            #""system":[{"type":"text","text":"one"},{"type":"text","text":"two"}]"#)
        #expect(messages == [Message(.system, "one\ntwo"), Message(.user, "a\nb")])
    }

    @Test func `neighbours of one role are one turn`() throws {
        let messages = try chat(
            #"[{"role":"user","content":"a"},{"role":"user","content":"b"},{"role":"assistant","content":"c"},{"role":"user","content":"d"}]"#
        )
        #expect(messages == [Message(.user, "a\nb"), Message(.assistant, "c"), Message(.user, "d")])
    }

    @Test func `tool calls, what they gave back, and what was thought`() throws {
        let messages = try chat(
            #"""
            [{"role":"user","content":"weather?"},
             {"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"x"},
               {"type":"redacted_thinking","data":"y"},{"type":"text","text":"I look"},
               {"type":"tool_use","id":"t1","name":"weather","input":{"city":"Rome"}}]},
             {"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":[{"type":"text","text":"sun"}]},
               {"type":"text","text":"and?"}]}]
            """#)
        let call = ToolCall(id: "t1", name: "weather", arguments: #"{"city":"Rome"}"#)
        #expect(
            messages == [
                Message(.user, "weather?"), Message(.assistant, "I look", reasoning: "hm", toolCalls: [call]),
                Message(.tool, "sun", toolCallID: "t1"), Message(.user, "and?"),
            ])
    }

    @Test func `a tool that failed says so in words`() throws {
        let messages = try chat(
            #"""
            [{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"tool_use","id":"t1","name":"f","input":{}}]},
             {"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":"no","is_error":true},
               {"type":"tool_result","tool_use_id":"t2"}]}]
            """#)
        #expect(messages.suffix(2).map(\.text) == ["Error: no", ""])
        #expect(messages.suffix(2).map(\.toolCallID) == ["t1", "t2"])
    }

    @Test func `tools, their choice, and those that only Anthropic runs`() throws {
        let shape = try request(
            #"""
            "tools":[{"name":"f","description":"d","input_schema":{"type":"object"}},
              {"type":"web_search_20250305","name":"web_search"}],
            "tool_choice":{"type":"tool","name":"f","disable_parallel_tool_use":true}
            """#
        ).chat.shape
        #expect(shape.tools == [Tool(name: "f", description: "d", parameters: ["type": "object"])])
        #expect(shape.toolChoice == .named("f"))
        #expect(shape.parallelToolCalls == false)
    }

    @Test(arguments: [("auto", ToolChoice.auto), ("any", .required), ("none", .none)])
    func `every choice of tools`(word: String, choice: ToolChoice) throws {
        let more = #""tools":[{"name":"f"}],"tool_choice":{"type":"\#(word)"}"#
        #expect(try request(more).chat.shape.toolChoice == choice)
    }

    @Test(arguments: ["output_config\":{\"format", "output_format"])
    func `a schema for the answer`(place: String) throws {
        let close = place.contains("{") ? "}" : ""
        let more = "\"\(place)\":{\"type\":\"json_schema\",\"schema\":{\"type\":\"object\"}}\(close)"
        #expect(
            try request(more).chat.shape.format == .jsonSchema(name: "output", schema: ["type": "object"]))
    }

    @Test(arguments: [("enabled", true), ("adaptive", true), ("disabled", false)])
    func `thoughts are shown to whoever asks`(word: String, shows: Bool) throws {
        #expect(try request(#""thinking":{"type":"\#(word)","budget_tokens":1024}"#).showsThinking == shows)
    }

    @Test func `headers name the conversation and the retry`() throws {
        var headers = HTTPFields()
        headers[.conversationID] = "talk"
        headers[.stainlessRetryCount] = "1"
        let chat = try request(headers: headers).chat
        #expect(chat.continuation == .conversation(try #require(ConversationID("talk"))))
        #expect(chat.isRetry)
    }

    @Test func `counting needs no bound of the answer`() throws {
        let json = try JSON.parse(#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#)
        #expect(try MessagesRequest(json, headers: HTTPFields(), countsOnly: true).chat.maximumTokens == nil)
        #expect(throws: RuntimeError.self) { try MessagesRequest(json, headers: HTTPFields()) }
    }

    @Test(
        arguments: [
            (#""temperature":1.5"#, "temperature"), (#""stop_sequences":"x""#, "stop_sequences"),
            (#""stop_sequences":[""]"#, "stop_sequences"), (#""system":5"#, "system"),
            (#""system":[{"type":"image"}]"#, "system[0].type"), (#""stream":"yes""#, "stream"),
            (#""tools":[{"description":"no name"}]"#, "tools[0].name"),
            (#""tool_choice":{"type":"tool","name":"g"}"#, "tool_choice"),
            (#""tool_choice":{"type":"any"}"#, "tool_choice"), (#""thinking":{"type":"deep"}"#, "thinking.type"),
            (#""metadata":{"user_id":5}"#, "metadata.user_id"),
            (#""output_format":{"type":"xml"}"#, "output_format.type"),
            (#""max_tokens":0"#, "max_tokens"), (#""model":"""#, "model"),
        ])
    func `a wrong field is refused by its name`(more: String, field: String) throws {
        let error = try #require(throws: RuntimeError.self) { try request(more) }
        #expect(error.code == .invalidRequest)
        #expect(error.parameter == field)
        #expect(error.message.contains(field))
    }

    @Test(
        arguments: [
            ("[]", "messages"), (#"[{"role":"user","content":""}]"#, "messages[0].content"),
            (#"[{"role":"robot","content":"x"}]"#, "messages[0].role"),
            (#"[{"role":"user","content":"x"},{"role":"assistant","content":"y"}]"#, "messages"),
            (#"[{"role":"user","content":[{"type":"image","source":{}}]}]"#, "messages[0].content[0].type"),
            (#"[{"role":"user","content":[{"type":"tool_result"}]}]"#, "messages[0].content[0].tool_use_id"),
            (
                #"[{"role":"user","content":[{"type":"document","source":{"type":"url"}}]}]"#,
                "messages[0].content[0].source"
            ),
            (#"[{"role":"user"}]"#, "messages[0].content"), ("[5]", "messages[0]"),
        ])
    func `a wrong message is refused by its place`(messages: String, field: String) throws {
        let error = try #require(throws: RuntimeError.self) { try chat(messages) }
        #expect(error.parameter == field)
    }

    @Test func `a body that is no object is refused`() {
        #expect(throws: RuntimeError.self) { try MessagesRequest([], headers: HTTPFields()) }
    }
}
