import Core
import Node
import Testing

@testable import Gateway

@Suite struct ChatCompletionEncoderTests {
    private static let head =
        #"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"phi\"3","#
        + #""system_fingerprint":"recall-q8","choices":["#

    private static func encoder(
        includesUsage: Bool = false, omitted: Int = 0, choices: Int = 1, toolChoice: ToolChoice = .auto
    ) -> ChatCompletionEncoder {
        ChatCompletionEncoder(
            id: "chatcmpl-1", model: "phi\"3", answer: .scripted([], omitted: omitted), choices: choices,
            includesUsage: includesUsage, toolChoice: toolChoice)
    }

    private static func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
    private static let usage = TokenUsage(promptTokens: 7, completionTokens: 2, cachedTokens: 5)
    private static func finished(_ choice: Int, _ reason: FinishReason) -> ChatEvent {
        .finished(choice: choice, reason: reason, usage: usage)
    }

    @Test("a stream is the role, the pieces, the reason")
    func chunks() {
        var encoder = Self.encoder()
        #expect(
            Self.text(encoder.opening())
                == Self.head + #"{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"# + "\n\n"
        )
        #expect(
            Self.text(encoder.piece(.text(choice: 2, "a\"\n\u{1}é🦊")))
                == Self.head + #"{"index":2,"delta":{"content":"a\"\n\u0001é🦊"},"finish_reason":null}]}"# + "\n\n")
        #expect(
            Self.text(encoder.piece(.reasoning(choice: 0, "hm")))
                == Self.head + #"{"index":0,"delta":{"reasoning_content":"hm"},"finish_reason":null}]}"# + "\n\n")
        #expect(
            Self.text(encoder.piece(Self.finished(0, .stop)))
                == Self.head + #"{"index":0,"delta":{},"finish_reason":"stop"}]}"# + "\n\n")
        #expect(
            Self.text(encoder.piece(Self.finished(1, .length)))
                == Self.head + #"{"index":1,"delta":{},"finish_reason":"length"}]}"# + "\n\n")
        #expect(Self.text(encoder.closing([], Self.usage)) == "data: [DONE]\n\n")
    }

    @Test("who went on with an answer is told in its last chunk")
    func failover() {
        var encoder = Self.encoder()
        let (from, to) = (NodeID(Bytes16(high: 0, low: 1)), NodeID(Bytes16(high: 0, low: 2)))
        let move = Failover(from: from, to: to, cause: .silent, way: .continued)
        #expect(encoder.piece(.moved(choice: 0, move)).isEmpty)
        let told = #""igris":{"failover":[{"from":"\#(from)","to":"\#(to)","cause":"silent","way":"continued"}]}"#
        #expect(
            Self.text(encoder.piece(Self.finished(0, .stop)))
                == Self.head + #"{"index":0,"delta":{},"finish_reason":"stop"}],"# + told + "}\n\n")
        let whole = encoder.whole(
            [AnswerTally.Choice(message: Message(.assistant, "a"), logprobs: [], reason: .stop, failovers: [move])],
            Self.usage)
        #expect(whole["igris"]?["failover"]?.array?.count == 1)
    }

    @Test("a call's first piece names it, the others carry arguments only, and the reason says so")
    func calls() {
        var encoder = Self.encoder()
        let first = ToolCallPiece(index: 1, id: "call_1", name: "f")
        #expect(
            Self.text(encoder.piece(.toolCall(choice: 0, first))) == Self.head
                + #"{"index":0,"delta":{"tool_calls":[{"index":1,"id":"call_1","type":"function","#
                + #""function":{"name":"f","arguments":""}}]},"finish_reason":null}]}"# + "\n\n")
        #expect(
            Self.text(encoder.piece(.toolCall(choice: 0, ToolCallPiece(index: 1, arguments: "{\"")))) == Self.head
                + #"{"index":0,"delta":{"tool_calls":[{"index":1,"function":{"arguments":"{\""}}]},"finish_reason":null}]}"#
                + "\n\n")
        #expect(Self.text(encoder.piece(Self.finished(0, .toolCalls))).contains(#""finish_reason":"tool_calls""#))
        var forced = Self.encoder(toolChoice: .named("f"))
        #expect(Self.text(forced.piece(Self.finished(0, .toolCalls))).contains(#""finish_reason":"stop""#))
        #expect(Self.text(forced.piece(Self.finished(0, .length))).contains(#""finish_reason":"length""#))
    }

    private static let probability = TokenProbability(
        chosen: .init(token: "a", bytes: [97], logprob: -0.5),
        alternatives: [.init(token: "b", bytes: [98], logprob: -.infinity)])
    private static let probabilityText =
        #""logprobs":{"content":[{"token":"a","logprob":-0.5,"bytes":[97],"top_logprobs":"#
        + #"[{"token":"b","logprob":-9999.0,"bytes":[98]}]}],"refusal":null}"#

    @Test("log-probabilities go with the piece of text that follows, or with the end")
    func logprobs() {
        var encoder = Self.encoder()
        #expect(encoder.piece(.logprobs(choice: 0, [Self.probability])).isEmpty)
        #expect(
            Self.text(encoder.piece(.text(choice: 0, "a"))) == Self.head
                + #"{"index":0,"delta":{"content":"a"},"finish_reason":null,"# + Self.probabilityText + "}]}\n\n")
        #expect(!Self.text(encoder.piece(.text(choice: 0, "b"))).contains("logprobs"))
        _ = encoder.piece(.logprobs(choice: 0, [Self.probability]))
        #expect(Self.text(encoder.piece(Self.finished(0, .stop))).contains(Self.probabilityText))
    }

    @Test("with include_usage every chunk has usage null, and the last one has the counts and no choice")
    func usage() {
        var encoder = Self.encoder(includesUsage: true)
        #expect(
            Self.text(encoder.piece(.text(choice: 0, "x")))
                == Self.head + #"{"index":0,"delta":{"content":"x"},"finish_reason":null}],"usage":null}"# + "\n\n")
        #expect(
            Self.text(encoder.closing([], Self.usage))
                == Self.head
                + #"],"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9,"#
                + #""prompt_tokens_details":{"cached_tokens":5}}}"# + "\n\ndata: [DONE]\n\n")
    }

    @Test("what was left out of the prompt is stated once, in the first chunk")
    func omission() {
        let chunks = Self.text(Self.encoder(omitted: 4, choices: 2).opening()).split(separator: "\n\n")
        let report = #","igris":{"context":{"included":3,"omitted":4,"prompt_tokens":7,"context_length":512}}}"#
        #expect(chunks.count == 2)
        #expect(chunks.first?.hasSuffix(report) == true)
        #expect(chunks.last?.contains("igris") == false)
        #expect(!Self.text(Self.encoder().opening()).contains("igris"))
    }

    @Test("a failure in mid-stream is a chunk with an error object")
    func failure() {
        let bytes = ChatCompletionEncoder.failure(APIError(RuntimeError(.engineFailed, "it broke")))
        #expect(
            Self.text(bytes) == #"data: {"error":{"message":"it broke","type":"server_error","param":null,"#
                + #""code":"engine_failed"}}"# + "\n\n")
    }

    @Test("a whole answer echoes the model and counts the tokens")
    func whole() {
        let usage = TokenUsage(promptTokens: 7, completionTokens: 3, cachedTokens: 0)
        let choices = [("a", FinishReason.stop), ("b", .length)].map { text, reason in
            AnswerTally.Choice(message: Message(.assistant, text), logprobs: [], reason: reason)
        }
        let json = Self.encoder(omitted: 1).whole(choices, usage)
        let expected =
            #"{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"phi\"3","#
            + #""system_fingerprint":"recall-q8","choices":["#
            + #"{"index":0,"message":{"role":"assistant","content":"a","refusal":null},"logprobs":null,"finish_reason":"stop"},"#
            + #"{"index":1,"message":{"role":"assistant","content":"b","refusal":null},"logprobs":null,"finish_reason":"length"}],"#
            + #""usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10,"prompt_tokens_details":{"cached_tokens":0}},"#
            + #""igris":{"context":{"included":3,"omitted":1,"prompt_tokens":7,"context_length":512}}}"#
        #expect(json.text == expected)
    }
}

extension ChatCompletionEncoderTests {
    @Test("a whole answer that calls tools has no text, and shows thoughts and log-probabilities")
    func wholeCall() {
        var message = Message(.assistant, "", reasoning: "hm")
        message.toolCalls = [ToolCall(id: "call_1", name: "f", arguments: "{}")]
        let choice = AnswerTally.Choice(message: message, logprobs: [Self.probability], reason: .toolCalls)
        let text = Self.encoder().whole([choice], Self.usage).text
        #expect(
            text.contains(
                #"{"index":0,"message":{"role":"assistant","content":null,"refusal":null,"reasoning_content":"hm","#
                    + #""tool_calls":[{"id":"call_1","type":"function","function":{"name":"f","arguments":"{}"}}]},"#
                    + Self.probabilityText + #","finish_reason":"tool_calls"}"#))
    }
}

@Suite struct AnswerTallyTests {
    private static let usage = TokenUsage(promptTokens: 7, completionTokens: 2, cachedTokens: 5)

    @Test("the prompt counts once for many answers")
    func sum() throws {
        var tally = AnswerTally(choices: 2)
        try tally.add(.text(choice: 1, "b"))
        try tally.add(.finished(choice: 1, reason: .length, usage: Self.usage))
        try tally.add(.text(choice: 0, "a"))
        try tally.add(.finished(choice: 0, reason: .stop, usage: Self.usage))
        #expect(tally.choices.map(\.message.text) == ["a", "b"])
        #expect(tally.choices.map(\.reason) == [.stop, .length])
        #expect(try tally.usage() == TokenUsage(promptTokens: 7, completionTokens: 4, cachedTokens: 5))
    }

    @Test("an answer that broke off is not taken for one that ended", arguments: [FinishReason.aborted, .failed])
    func broken(_ reason: FinishReason) {
        var tally = AnswerTally(choices: 1)
        #expect(throws: RuntimeError.self) { try tally.add(.finished(choice: 0, reason: reason, usage: Self.usage)) }
    }

    @Test("an answer without an end is incomplete")
    func incomplete() throws {
        var tally = AnswerTally(choices: 2)
        #expect(throws: RuntimeError.self) { try tally.usage() }
        try tally.add(.finished(choice: 0, reason: .stop, usage: Self.usage))
        #expect(throws: RuntimeError.self) { try tally.usage() }
    }

    @Test("a choice that was not asked for is refused", arguments: [-1, 1])
    func strange(_ choice: Int) {
        var tally = AnswerTally(choices: 1)
        #expect(throws: RuntimeError.self) { try tally.add(.text(choice: choice, "x")) }
        #expect(throws: RuntimeError.self) {
            try tally.add(.finished(choice: choice, reason: .stop, usage: Self.usage))
        }
    }
}
