import Core
import Node

/// Writes one answer in OpenAI's words: as chunks of an event stream, or whole (wire.md §5.2).
///
/// Chunks are put together by hand around a prefix made once: a general encoder costs forty times as much for each
/// token (platform.md §4).
struct ChatCompletionEncoder {
    static let end = Array("data: [DONE]\n\n".utf8)

    private let id: String
    private let created: Int64
    /// As the client wrote it: clients compare.
    private let model: String
    private let fingerprint: String
    private let includesUsage: Bool
    private let context: ContextReport
    /// `data: {…,"choices":[{"index":`
    private let prefix: [UInt8]

    /// - Parameter id: the answer's id, the same in every chunk.
    init(id: String, model: String, answer: ChatAnswer, includesUsage: Bool) {
        self.id = id
        self.model = model
        self.includesUsage = includesUsage
        created = answer.created
        fingerprint = answer.fingerprint
        context = answer.context
        var prefix = Array(#"data: {"id":"#.utf8)
        JSON.write(id, to: &prefix)
        prefix += Array(#","object":"chat.completion.chunk","created":\#(created),"model":"#.utf8)
        JSON.write(model, to: &prefix)
        prefix += Array(#","system_fingerprint":"#.utf8)
        JSON.write(answer.fingerprint, to: &prefix)
        prefix += Array(#","choices":["#.utf8)
        self.prefix = prefix
    }

    // MARK: Chunks

    /// The first chunk of each choice: who speaks. What was left out of the prompt is stated here.
    func opening(choice: Int) -> [UInt8] {
        let report = choice == 0 ? omission.map { #","igris":\#($0.text)"# } ?? "" : ""
        return chunk(choice, #""role":"assistant","content":"""#, finish: "null", more: report)
    }

    func text(_ text: String, choice: Int) -> [UInt8] {
        var bytes = prefix
        bytes.reserveCapacity(prefix.count + text.utf8.count + 96)
        bytes.append(contentsOf: #"{"index":"#.utf8)
        bytes.append(contentsOf: String(choice).utf8)
        bytes.append(contentsOf: #","delta":{"content":"#.utf8)
        JSON.write(text, to: &bytes)
        bytes.append(contentsOf: #"},"finish_reason":null}]"#.utf8)
        bytes.append(contentsOf: suffix)
        return bytes
    }

    func finish(choice: Int, reason: FinishReason) -> [UInt8] {
        chunk(choice, "", finish: #""\#(Self.word(reason))""#)
    }

    func usage(_ usage: TokenUsage) -> [UInt8] {
        prefix + Array(#"],"usage":\#(Self.json(usage).text)}"#.utf8) + Array("\n\n".utf8)
    }

    /// The only way to tell a client in mid-stream: its library raises this as an error.
    static func failure(_ error: APIError) -> [UInt8] {
        Array("data: ".utf8) + error.body + Array("\n\n".utf8)
    }

    private func chunk(_ choice: Int, _ delta: String, finish: String, more: String = "") -> [UInt8] {
        prefix + Array(#"{"index":\#(choice),"delta":{\#(delta)},"finish_reason":\#(finish)}]\#(more)"#.utf8) + suffix
    }

    private var suffix: [UInt8] { includesUsage ? Self.suffixWithUsage : Self.suffixAlone }
    private static let suffixAlone = Array("}\n\n".utf8)
    private static let suffixWithUsage = Array(",\"usage\":null}\n\n".utf8)

    // MARK: The whole answer

    func whole(_ choices: [AnswerTally.Choice], _ usage: TokenUsage) -> JSON {
        var object = JSON.Object()
        object["id"] = .string(id)
        object["object"] = "chat.completion"
        object["created"] = .integer(created)
        object["model"] = .string(model)
        object["system_fingerprint"] = .string(fingerprint)
        object["choices"] = .array(
            choices.enumerated().map { index, choice in
                [
                    "index": .integer(Int64(index)),
                    "message": ["role": "assistant", "content": .string(choice.message.text), "refusal": nil],
                    "logprobs": nil,
                    "finish_reason": .string(Self.word(choice.reason)),
                ]
            })
        object["usage"] = Self.json(usage)
        if let omission { object["igris"] = omission }
        return .object(object)
    }

    // MARK: Parts

    private static func json(_ usage: TokenUsage) -> JSON {
        [
            "prompt_tokens": .integer(Int64(usage.promptTokens)),
            "completion_tokens": .integer(Int64(usage.completionTokens)),
            "total_tokens": .integer(Int64(usage.totalTokens)),
            "prompt_tokens_details": ["cached_tokens": .integer(Int64(usage.cachedTokens))],
        ]
    }

    /// Nil when the model saw everything.
    private var omission: JSON? {
        guard context.omitted > 0 else { return nil }
        return [
            "context": [
                "included": .integer(Int64(context.included)),
                "omitted": .integer(Int64(context.omitted)),
                "prompt_tokens": .integer(Int64(context.promptTokens)),
                "context_length": .integer(Int64(context.contextLength)),
            ]
        ]
    }

    /// OpenAI knows no word for an answer that broke off; one never reaches this point (``AnswerTally``).
    private static func word(_ reason: FinishReason) -> String {
        switch reason {
        case .length: "length"
        case .toolCalls: "tool_calls"
        case .stop, .aborted, .failed: "stop"
        }
    }
}
