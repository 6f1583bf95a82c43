import Core
import HTTPTypes
import Node
import Testing

@testable import Gateway

struct MessagesEncoderTests {
    private static let usage = TokenUsage(promptTokens: 9, completionTokens: 4, cachedTokens: 3)

    private func encoder(thinking: Bool = false) throws -> MessagesEncoder {
        let more = thinking ? #","thinking":{"type":"enabled","budget_tokens":1024}"# : ""
        let json = try JSON.parse(
            #"{"model":"asked-for","max_tokens":16,"messages":[{"role":"user","content":"hi"}]\#(more)}"#)
        return MessagesEncoder(
            try MessagesRequest(json, headers: HTTPFields()),
            answer: ChatAnswer(
                conversation: nil, created: 0, model: "m", fingerprint: "f",
                servedBy: NodeID(Bytes16(high: 0, low: 1)),
                context: ContextReport(promptTokens: 7, contextLength: 512, included: 1, omitted: 0),
                events: EventStream([])),
            id: "msg_1")
    }

    /// Every event of a stream: its name, and its data.
    private func events(_ pieces: [ChatEvent], thinking: Bool = false) throws -> [(name: String, data: JSON)] {
        var encoder = try encoder(thinking: thinking)
        var bytes = encoder.opening()
        for piece in pieces { bytes += encoder.piece(piece) }
        bytes += encoder.closing([], Self.usage)
        return try parse(bytes)
    }

    private func parse(_ bytes: [UInt8]) throws -> [(name: String, data: JSON)] {
        try String(decoding: bytes, as: UTF8.self).split(separator: "\n\n").map { event in
            let lines = event.split(separator: "\n")
            #expect(lines.count == 2 && lines[0].hasPrefix("event: ") && lines[1].hasPrefix("data: "))
            return (String(lines[0].dropFirst(7)), try JSON.parse(String(lines[1].dropFirst(6))))
        }
    }

    private func finished(_ reason: FinishReason) -> ChatEvent {
        .finished(choice: 0, reason: reason, usage: Self.usage)
    }

    @Test func `a text comes as one block in Anthropic's order`() throws {
        let events = try events([.text(choice: 0, "Hel"), .text(choice: 0, "lo \"you\""), finished(.stop)])
        #expect(
            events.map(\.name) == [
                "message_start", "ping", "content_block_start", "content_block_delta", "content_block_delta",
                "content_block_stop", "message_delta", "message_stop",
            ])
        #expect(events.allSatisfy { $0.data["type"]?.string == $0.name })
        let message = events[0].data["message"]
        #expect(message?["id"] == "msg_1" && message?["model"] == "asked-for" && message?["role"] == "assistant")
        #expect(message?["usage"]?["input_tokens"] == 7)
        #expect(events[3].data["delta"] == ["type": "text_delta", "text": "Hel"])
        #expect(events[4].data["delta"]?["text"] == "lo \"you\"")
        #expect(events[6].data["delta"] == ["stop_reason": "end_turn", "stop_sequence": nil])
        #expect(
            events[6].data["usage"] == [
                "input_tokens": 6, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 3, "output_tokens": 4,
            ])
    }

    @Test func `the string that ended the answer is told where it is the client's, and of an answer that it ended`()
        throws
    {
        let json = try JSON.parse(
            #"{"model":"m","max_tokens":16,"stop_sequences":["END"],"messages":[{"role":"user","content":"hi"}]}"#)
        let cases: [(String?, FinishReason, String, JSON)] = [
            ("END", .stop, "stop_sequence", "END"), ("other", .stop, "end_turn", nil), (nil, .stop, "end_turn", nil),
            ("END", .length, "max_tokens", nil),
        ]
        for (stop, reason, word, told) in cases {
            var usage = Self.usage
            usage.stop = stop
            let encoder = MessagesEncoder(
                try MessagesRequest(json, headers: HTTPFields()), answer: .scripted([]), id: "msg_1")
            let whole = encoder.whole([.init(message: Message(.assistant, "x"), logprobs: [], reason: reason)], usage)
            #expect(whole["stop_reason"] == .string(word) && (whole["stop_sequence"] ?? .null) == told)
        }
    }

    @Test func `thoughts, text and calls are blocks of their own, each closed before the next`() throws {
        let events = try events(
            [
                .reasoning(choice: 0, "hm"), .text(choice: 0, "I look"),
                .toolCall(choice: 0, ToolCallPiece(index: 0, id: "t0", name: "f")),
                .toolCall(choice: 0, ToolCallPiece(index: 0, arguments: #"{"a":"#)),
                .toolCall(choice: 0, ToolCallPiece(index: 0, arguments: "1}")),
                .toolCall(choice: 0, ToolCallPiece(index: 1, id: "t1", name: "g", arguments: "{}")),
                finished(.toolCalls),
            ], thinking: true)
        let blocks = events.filter { $0.name.hasPrefix("content_block") }
        #expect(
            blocks.map { "\($0.data["index"]?.integer ?? -1) \($0.name.dropFirst("content_block_".count))" } == [
                "0 start", "0 delta", "0 delta", "0 stop", "1 start", "1 delta", "1 stop",
                "2 start", "2 delta", "2 delta", "2 stop", "3 start", "3 delta", "3 stop",
            ])
        #expect(blocks[0].data["content_block"]?["type"] == "thinking")
        #expect(blocks[1].data["delta"] == ["type": "thinking_delta", "thinking": "hm"])
        #expect(blocks[2].data["delta"]?["type"] == "signature_delta")
        #expect(blocks[7].data["content_block"] == ["type": "tool_use", "id": "t0", "name": "f", "input": [:]])
        #expect(blocks[8].data["delta"] == ["type": "input_json_delta", "partial_json": #"{"a":"#])
        #expect(events.suffix(2).first?.data["delta"]?["stop_reason"] == "tool_use")
    }

    @Test func `whoever asked for no thoughts gets none`() throws {
        let events = try events([.reasoning(choice: 0, "hm"), .text(choice: 0, "a"), finished(.length)])
        #expect(events.count { $0.name == "content_block_start" } == 1)
        #expect(events.suffix(2).first?.data["delta"]?["stop_reason"] == "max_tokens")
        let whole = try encoder().whole(
            [.init(message: Message(.assistant, "a", reasoning: "hm"), logprobs: [], reason: .stop)], Self.usage)
        #expect(whole["content"] == [["type": "text", "text": "a"]])
    }

    @Test func `the whole message`() throws {
        let call = ToolCall(id: "t0", name: "f", arguments: #"{"a": 1}"#)
        let broken = ToolCall(id: "t1", name: "g", arguments: "{")
        let message = Message(.assistant, "I look", reasoning: "hm", toolCalls: [call, broken])
        let whole = try encoder(thinking: true).whole(
            [.init(message: message, logprobs: [], reason: .toolCalls)], Self.usage)
        #expect(whole["type"] == "message" && whole["stop_reason"] == "tool_use")
        let content = whole["content"]?.array ?? []
        #expect(content.map { $0["type"]?.string } == ["thinking", "text", "tool_use", "tool_use"])
        #expect(content[2]["input"] == ["a": 1])
        #expect(content[3]["input"] == ["unparsed": "{"])
    }

    @Test func `an answer that breaks off is an error event`() throws {
        let bytes = MessagesEncoder.failure(APIError(RuntimeError(.engineFailed, "it broke")))
        let event = try #require(try parse(bytes).first)
        #expect(event.name == "error")
        #expect(event.data == ["type": "error", "error": ["type": "api_error", "message": "it broke"]])
    }

    @Test(
        arguments: [
            (RuntimeError.Code.unauthenticated, "authentication_error"), (.forbidden, "permission_error"),
            (.modelNotFound, "not_found_error"), (.tooLarge, "request_too_large"), (.overloaded, "rate_limit_error"),
            (.unavailable, "overloaded_error"), (.internal, "api_error"),
            (.contextLengthExceeded, "invalid_request_error"),
        ])
    func `errors have Anthropic's types`(code: RuntimeError.Code, type: String) throws {
        let body = try JSON.parse(AnthropicError.body(APIError(RuntimeError(code, "why")), requestID: "req_1"))
        #expect(body["type"] == "error" && body["request_id"] == "req_1")
        #expect(body["error"]?["type"]?.string == type)
    }
}
