import Core
import HTTPTypes
import Node
import Synchronization
import Testing

@testable import Gateway

struct OllamaEncoderTests {
    private static let usage = TokenUsage(promptTokens: 9, completionTokens: 4)

    /// Each look at the clock is a second later.
    private func encoder(_ form: OllamaRequest.Form, _ more: String = "") throws -> OllamaEncoder {
        let json = try JSON.parse(
            #"{"model":"asked-for","prompt":"hi","messages":[{"role":"user","content":"hi"}]\#(more)}"#)
        let seconds = LockedCount()
        return OllamaEncoder(
            try OllamaRequest(form, json, headers: HTTPFields()),
            answer: ChatAnswer(
                conversation: nil, created: 0, model: "m", fingerprint: "f",
                servedBy: NodeID(Bytes16(high: 0, low: 1)),
                context: ContextReport(promptTokens: 7, contextLength: 512, included: 1, omitted: 0),
                events: EventStream([])),
            clock: OllamaClock(now: { "2026-11-21T08:00:00.000Z" }, elapsed: { .seconds(seconds.next()) }))
    }

    private final class LockedCount: Sendable {
        private let count = Mutex(0)

        func next() -> Int {
            count.withLock {
                $0 += 1
                return $0
            }
        }
    }

    private func lines(
        _ form: OllamaRequest.Form, _ events: [ChatEvent], _ more: String = ""
    ) throws -> [JSON] {
        var encoder = try encoder(form, more)
        var bytes = encoder.opening()
        for event in events { bytes += encoder.piece(event) }
        bytes += encoder.closing([], Self.usage)
        #expect(bytes.last == UInt8(ascii: "\n"))
        return try String(decoding: bytes, as: UTF8.self).split(separator: "\n").map { try JSON.parse(String($0)) }
    }

    private func finished(_ reason: FinishReason) -> ChatEvent {
        .finished(choice: 0, reason: reason, usage: Self.usage)
    }

    @Test func `a chat is lines with a message each, and the last one counts`() throws {
        let lines = try lines(.chat, [.text(choice: 0, "Hel"), .text(choice: 0, "lo\n"), finished(.length)])
        #expect(lines.count == 3)
        #expect(
            lines.allSatisfy { $0["model"] == "asked-for" && $0["created_at"] == "2026-11-21T08:00:00.000Z" })
        #expect(lines.map { $0["done"]?.bool } == [false, false, true])
        #expect(lines.map { $0["message"]?["content"]?.string } == ["Hel", "lo\n", ""])
        #expect(lines[2]["done_reason"] == "length")
        #expect(lines[2]["prompt_eval_count"] == 9 && lines[2]["eval_count"] == 4)
        #expect(lines[2]["prompt_eval_duration"] == 1_000_000_000)
        #expect(lines[2]["total_duration"] == 2_000_000_000 && lines[2]["eval_duration"] == 1_000_000_000)
    }

    @Test func `generate has a response instead of a message`() throws {
        let lines = try lines(.generate, [.text(choice: 0, "Hi"), finished(.stop)])
        #expect(lines.map { $0["response"]?.string } == ["Hi", ""])
        #expect(lines[1]["done_reason"] == "stop")
        #expect(lines[0]["message"] == nil)
    }

    @Test func `calls are told whole, each once`() throws {
        let lines = try lines(
            .chat,
            [
                .toolCall(choice: 0, ToolCallPiece(index: 0, id: "t0", name: "f", arguments: #"{"a":"#)),
                .toolCall(choice: 0, ToolCallPiece(index: 0, arguments: "1}")),
                .toolCall(choice: 0, ToolCallPiece(index: 1, id: "t1", name: "g")), finished(.toolCalls),
            ])
        let calls = lines.compactMap { $0["message"]?["tool_calls"]?.array?.first?["function"] }
        #expect(
            calls == [
                ["index": 0, "name": "f", "arguments": ["a": 1]], ["index": 1, "name": "g", "arguments": [:]],
            ])
        #expect(lines.last?["done_reason"] == "stop")
    }

    @Test func `thoughts stand apart, unless they are not wanted`() throws {
        let events: [ChatEvent] = [.reasoning(choice: 0, "hm"), .text(choice: 0, "a"), finished(.stop)]
        #expect(try lines(.chat, events)[0]["message"]?["thinking"] == "hm")
        #expect(try lines(.generate, events)[0]["thinking"] == "hm")
        #expect(try lines(.chat, events, #","think":false"#).count == 2)
    }

    @Test func `log-probabilities go with their text`() throws {
        let token = TokenProbability.Alternative(token: "a", bytes: [97], logprob: -0.5)
        let lines = try lines(
            .chat,
            [
                .logprobs(choice: 0, [TokenProbability(chosen: token, alternatives: [token])]),
                .text(choice: 0, "a"), finished(.stop),
            ])
        let told: JSON = ["token": "a", "logprob": -0.5, "bytes": [97]]
        #expect(lines[0]["logprobs"]?.array?.first?["token"] == "a")
        #expect(lines[0]["logprobs"]?.array?.first?["top_logprobs"] == [told])
    }

    @Test func `the whole answer`() throws {
        let call = ToolCall(id: "t0", name: "f", arguments: "{}")
        let whole = try encoder(.chat).whole(
            [
                .init(
                    message: Message(.assistant, "a", reasoning: "hm", toolCalls: [call]), logprobs: [],
                    reason: .stop)
            ], Self.usage)
        #expect(whole["message"]?["content"] == "a" && whole["message"]?["thinking"] == "hm")
        #expect(whole["message"]?["tool_calls"]?.array?.first?["id"] == "t0")
        #expect(whole["done"] == true && whole["eval_count"] == 4)
    }

    @Test func `an answer that breaks off is a line of its own`() throws {
        let bytes = OllamaEncoder.failure(APIError(RuntimeError(.engineFailed, "it broke")))
        #expect(String(decoding: bytes, as: UTF8.self) == "{\"error\":\"it broke\"}\n")
    }
}
