import Core
import HTTPTypes
import Node
import Testing

@testable import Gateway

@Suite struct ResponseRequestTests {
    private static func decode(_ text: String, _ headers: HTTPFields = [:]) throws -> ResponseRequest {
        try ResponseRequest(JSON.parse(text), headers: headers)
    }

    private static func body(_ more: String) -> String { #"{"model":"phi3","input":"hi",\#(more)}"# }

    @Test("items become messages: an assistant's words and its calls are one turn, records of hosted tools are none")
    func input() throws {
        let request = try Self.decode(
            #"{"model":"m","instructions":"be kind","input":[{"role":"developer","content":"d"},"#
                + #"{"type":"message","role":"user","content":[{"type":"input_text","text":"rain?"}]},"#
                + #"{"type":"reasoning","summary":[]},{"type":"web_search_call","id":"ws_1"},"#
                + #"{"type":"message","role":"assistant","content":[{"type":"output_text","text":"I look"}]},"#
                + #"{"type":"function_call","call_id":"c1","name":"f","arguments":"{}"},"#
                + #"{"type":"function_call","call_id":"c2","name":"g","arguments":"{}"},"#
                + #"{"type":"function_call_output","call_id":"c1","output":"wet"},"#
                + #"{"type":"function_call_output","call_id":"c2","output":[{"type":"input_text","text":"cold"}]}]}"#)
        let calls = ["f", "g"].enumerated().map { ToolCall(id: "c\($0 + 1)", name: $1, arguments: "{}") }
        #expect(
            request.chat.messages == [
                Message(.system, "d"), Message(.user, "rain?"), Message(.assistant, "I look", toolCalls: calls),
                Message(.tool, "wet", toolCallID: "c1"), Message(.tool, "cold", toolCallID: "c2"),
            ])
        #expect(request.chat.instructions == "be kind")
        #expect(request.chat.continuation == .new && request.chat.asksAnew && request.chat.keeps)
    }

    @Test("tools that this version does not know are left out, and shown again")
    func tools() throws {
        let request = try Self.decode(
            Self.body(
                #""tools":[{"type":"web_search"},{"type":"function","name":"f","parameters":{},"strict":true},"#
                    + #"{"type":"custom","name":"x"}],"tool_choice":{"type":"function","name":"f"}"#))
        #expect(request.chat.shape.tools == [Tool(name: "f", parameters: [:], isStrict: true)])
        #expect(request.chat.shape.toolChoice == .named("f"))
        let echo = request.record.response(
            id: "resp_1", created: 1, .queued, output: [], usage: nil, isStored: true)
        #expect(echo["tools"]?.array?.count == 3)
        let allowed = try Self.decode(
            Self.body(
                #""tools":[{"type":"function","name":"f"},{"type":"function","name":"g"}],"tool_choice":"#
                    + #"{"type":"allowed_tools","mode":"required","tools":[{"type":"function","name":"g"}]}"#))
        #expect(allowed.chat.shape.tools.map(\.name) == ["g"] && allowed.chat.shape.toolChoice == .required)
    }

    @Test("a request goes on from a response, from a conversation, or from nothing")
    func continuation() throws {
        let dot = Dot(origin: Origin(node: NodeID(Bytes16(high: 1, low: 2)), epoch: 3), sequence: 4)
        let id = ResponseRecord.id(dot)
        #expect(try Self.decode(Self.body(#""previous_response_id":"\#(id)""#)).chat.continuation == .after(dot))
        let named = try #require(ConversationID("c"))
        #expect(try Self.decode(Self.body(#""conversation":{"id":"c"}"#)).chat.continuation == .conversation(named))
        #expect(
            try Self.decode(Self.body(#""user":"u""#), [.conversationID: "c"]).chat.continuation
                == .conversation(named))
        #expect(try Self.decode(Self.body(#""store":false"#)).chat.continuation == .off)
        let unkept = try Self.decode(Self.body(#""store":false,"previous_response_id":"\#(id)""#)).chat
        #expect(unkept.continuation == .after(dot) && !unkept.keeps && unkept.annotation == nil)
        #expect(ResponseRecord.question(ofResponse: id) == dot)
        for wrong in ["", "resp_", id + "0", "msg_" + id.dropFirst(5), String(id.dropLast()) + "g"] {
            #expect(ResponseRecord.question(ofResponse: wrong) == nil)
        }
    }

    @Test(
        "a field that is wrong or asks too much is refused by its name",
        arguments: [
            (#"{"input":"hi"}"#, "model"), (#"{"model":"m"}"#, "input"), (#"{"model":"m","input":""}"#, "input"),
            (#"{"model":"m","input":[]}"#, "input"), (#"{"model":"m","input":[1]}"#, "input[0]"),
            (#"{"model":"m","input":[{"type":"item_reference","id":"x"}]}"#, "input[0].type"),
            (#"{"model":"m","input":[{"type":"compaction","encrypted_content":"x"}]}"#, "input[0].type"),
            (#"{"model":"m","input":[{"role":"boss","content":"x"}]}"#, "input[0].role"),
            (#"{"model":"m","input":[{"role":"user"}]}"#, "input[0].content"),
            (
                #"{"model":"m","input":[{"role":"user","content":[{"type":"input_image","image_url":"x"}]}]}"#,
                "input[0].content[0].type"
            ),
            (#"{"model":"m","input":[{"type":"function_call_output","output":"x"}]}"#, "input[0].call_id"),
            (#"{"model":"m","input":[{"role":"assistant","content":"x"}]}"#, "input"),
            (body(#""max_output_tokens":0"#), "max_output_tokens"), (body(#""temperature":3"#), "temperature"),
            (body(#""tools":[{}]"#), "tools[0].type"), (body(#""tool_choice":"required""#), "tool_choice"),
            (body(#""text":{"format":{"type":"xml"}}"#), "text.format.type"),
            (body(#""text":{"format":{"type":"json_schema","name":"n"}}"#), "text.format.schema"),
            (body(#""truncation":"some""#), "truncation"), (body(#""metadata":{"a":1}"#), "metadata"),
            (body(#""background":true,"store":false"#), "background"), (body(#""prompt":{"id":"x"}"#), "prompt"),
            (body(#""conversation":"c","previous_response_id":"r""#), "conversation"),
            (body(#""previous_response_id":1"#), "previous_response_id"), (body(#""stream":"yes""#), "stream"),
            (body(#""instructions":1"#), "instructions"), (body(#""top_logprobs":21"#), "top_logprobs"),
        ])
    func refusals(_ body: String, _ parameter: String) {
        let error = #expect(throws: RuntimeError.self) { try Self.decode(body) }
        #expect(error?.code == .invalidRequest)
        #expect(error?.parameter == parameter)
    }
}

@Suite struct ResponseEncoderTests {
    private static let dot = Dot(origin: Origin(node: NodeID(Bytes16(high: 1, low: 2)), epoch: 3), sequence: 4)
    private static let usage = TokenUsage(promptTokens: 7, completionTokens: 2, cachedTokens: 5)

    private static func encoder() throws -> ResponseEncoder {
        let request = try ResponseRequest(
            JSON.parse(#"{"model":"phi3","input":"hi","metadata":{"a":"b"}}"#), headers: [:])
        var answer = ChatAnswer.scripted([])
        answer.question = dot
        return ResponseEncoder(request.record, answer: answer)
    }

    /// The events of a stream; the name of each is that of its data, and they are counted from 0.
    private static func events(_ bytes: [UInt8]) throws -> [JSON] {
        try String(decoding: bytes, as: UTF8.self).split(separator: "\n\n").enumerated().map { index, block in
            let lines = block.split(separator: "\n")
            try #require(lines.count == 2)
            let json = try JSON.parse(String(lines[1].dropFirst("data: ".count)))
            #expect(lines[0] == "event: \(json["type"]?.string ?? "")")
            #expect(json["sequence_number"]?.integer == Int64(index))
            return json
        }
    }

    @Test("a stream begun behind an event has what follows it, with the same numbers")
    func resumed() throws {
        func blocks(after last: Int) throws -> [Substring] {
            let request = try ResponseRequest(JSON.parse(#"{"model":"phi3","input":"hi"}"#), headers: [:])
            var answer = ChatAnswer.scripted([])
            answer.question = Self.dot
            var encoder = ResponseEncoder(request.record, answer: answer, after: last)
            var bytes = encoder.opening()
            for text in ["Hel", "lo"] { bytes += encoder.piece(.text(choice: 0, text)) }
            let message = Message(.assistant, "Hello")
            bytes += encoder.closing([.init(message: message, logprobs: [], reason: .stop)], Self.usage)
            return String(decoding: bytes, as: UTF8.self).split(separator: "\n\n")
        }
        let whole = try blocks(after: -1)
        #expect(whole.count == 10)
        for last in 0..<whole.count { #expect(try blocks(after: last) == Array(whole[(last + 1)...]), "after \(last)") }
    }

    @Test("thoughts, a text and calls are items of their own, each begun, filled and ended")
    func stream() throws {
        var encoder = try Self.encoder()
        var message = Message(.assistant, "Hello", reasoning: "hm")
        message.toolCalls = [ToolCall(id: "c1", name: "f", arguments: "{}")]
        var bytes = encoder.opening()
        for event: ChatEvent in [
            .reasoning(choice: 0, "hm"), .text(choice: 0, "Hel"), .text(choice: 0, "lo"),
            .toolCall(choice: 0, ToolCallPiece(index: 0, id: "c1", name: "f")),
            .toolCall(choice: 0, ToolCallPiece(index: 0, arguments: "{}")),
            .finished(choice: 0, reason: .toolCalls, usage: Self.usage),
        ] { bytes += encoder.piece(event) }
        bytes += encoder.closing([.init(message: message, logprobs: [], reason: .toolCalls)], Self.usage)
        let events = try Self.events(bytes)
        #expect(
            events.map { $0["type"]?.string } == [
                "response.created", "response.in_progress", "response.output_item.added",
                "response.content_part.added", "response.reasoning_text.delta", "response.output_item.added",
                "response.content_part.added", "response.output_text.delta", "response.output_text.delta",
                "response.output_item.added", "response.function_call_arguments.delta",
                "response.reasoning_text.done", "response.content_part.done", "response.output_item.done",
                "response.output_text.done", "response.content_part.done", "response.output_item.done",
                "response.function_call_arguments.done", "response.output_item.done", "response.completed",
            ])
        let response = try #require(events.last?["response"])
        #expect(response["id"]?.string == "resp_" + Self.dot.digits)
        #expect(response["metadata"] == ["a": "b"] && response["store"] == true)
        #expect(response["usage"]?["total_tokens"] == 9)
        let output = try #require(response["output"]?.array)
        #expect(output.map { $0["type"]?.string } == ["reasoning", "message", "function_call"])
        #expect(output[1]["content"]?.array?.first?["text"] == "Hello")
        #expect(output[2]["call_id"] == "c1" && output[2]["arguments"] == "{}")
        // The id that an item began with is the one that it is found by.
        #expect(events[5]["item"]?["id"] == output[1]["id"])
        #expect(ResponseItem.place(output[2]["id"]?.string ?? "")?.question == Self.dot)
        let whole = try Self.encoder().whole(
            [.init(message: message, logprobs: [], reason: .toolCalls)], Self.usage)
        #expect(whole == response)
    }

    @Test("an answer of no words is an empty message; one cut off at its limit is incomplete")
    func ends() throws {
        var encoder = try Self.encoder()
        var bytes = encoder.opening()
        let nothing = AnswerTally.Choice(message: Message(.assistant, ""), logprobs: [], reason: .length)
        bytes += encoder.closing([nothing], Self.usage)
        let last = try #require(try Self.events(bytes).last)
        #expect(last["type"] == "response.incomplete")
        #expect(last["response"]?["incomplete_details"]?["reason"] == "max_output_tokens")
        #expect(last["response"]?["output"]?.array?.count == 1)
    }

    @Test("a failure in mid-stream is a failed response, one before the beginning an error event")
    func failure() throws {
        var encoder = try Self.encoder()
        let error = APIError(RuntimeError(.engineFailed, "it broke"))
        let events = try Self.events(encoder.opening() + encoder.breakingOff(error))
        #expect(events.last?["type"] == "response.failed")
        #expect(events.last?["response"]?["error"]?["message"] == "it broke")
        let early = try Self.events(ResponseEncoder.failure(error))
        #expect(early.first?["type"] == "error" && early.first?["message"] == "it broke")
    }
}

@Suite struct EmbeddingTests {
    @Test(
        "base64 is that of little-endian floats",
        arguments: [([Float](), ""), ([1], "AACAPw=="), ([1, -0.5, 2], "AACAPwAAAL8AAABA")])
    func base64(_ vector: [Float], _ text: String) {
        #expect(EmbeddingsEndpoint.base64(vector) == text)
    }
}
