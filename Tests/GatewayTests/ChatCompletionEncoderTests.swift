import Core
import Node
import Testing

@testable import Gateway

@Suite struct ChatCompletionEncoderTests {
    private static let head =
        #"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"phi\"3","#
        + #""system_fingerprint":"recall-q8","choices":["#

    private static func encoder(includesUsage: Bool = false, omitted: Int = 0) -> ChatCompletionEncoder {
        ChatCompletionEncoder(
            id: "chatcmpl-1", model: "phi\"3", answer: .scripted([], omitted: omitted), includesUsage: includesUsage)
    }

    private static func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

    @Test("a stream is the role, the pieces, the reason")
    func chunks() {
        let encoder = Self.encoder()
        #expect(
            Self.text(encoder.opening(choice: 0))
                == Self.head + #"{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"# + "\n\n"
        )
        #expect(
            Self.text(encoder.text("a\"\n\u{1}é🦊", choice: 2))
                == Self.head + #"{"index":2,"delta":{"content":"a\"\n\u0001é🦊"},"finish_reason":null}]}"# + "\n\n")
        #expect(
            Self.text(encoder.finish(choice: 0, reason: .stop))
                == Self.head + #"{"index":0,"delta":{},"finish_reason":"stop"}]}"# + "\n\n")
        #expect(
            Self.text(encoder.finish(choice: 1, reason: .length))
                == Self.head + #"{"index":1,"delta":{},"finish_reason":"length"}]}"# + "\n\n")
        #expect(Self.text(ChatCompletionEncoder.end) == "data: [DONE]\n\n")
    }

    @Test("with include_usage every chunk has usage null, and the last one has the counts and no choice")
    func usage() {
        let encoder = Self.encoder(includesUsage: true)
        #expect(
            Self.text(encoder.text("x", choice: 0))
                == Self.head + #"{"index":0,"delta":{"content":"x"},"finish_reason":null}],"usage":null}"# + "\n\n")
        #expect(
            Self.text(encoder.usage(TokenUsage(promptTokens: 7, completionTokens: 2, cachedTokens: 5)))
                == Self.head
                + #"],"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9,"#
                + #""prompt_tokens_details":{"cached_tokens":5}}}"# + "\n\n")
    }

    @Test("what was left out of the prompt is stated once, in the first chunk")
    func omission() {
        let encoder = Self.encoder(omitted: 4)
        let report = #","igris":{"context":{"included":3,"omitted":4,"prompt_tokens":7,"context_length":512}}}"#
        #expect(Self.text(encoder.opening(choice: 0)).hasSuffix(report + "\n\n"))
        #expect(!Self.text(encoder.opening(choice: 1)).contains("igris"))
        #expect(!Self.text(Self.encoder().opening(choice: 0)).contains("igris"))
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
