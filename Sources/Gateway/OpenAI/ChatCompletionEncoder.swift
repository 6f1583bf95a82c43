import Core
import Node

/// Writes one answer in OpenAI's words: as chunks of an event stream, or whole (wire.md §5.2).
///
/// Chunks are put together by hand around a prefix made once: a general encoder costs forty times as much for each
/// token (platform.md §4).
struct ChatCompletionEncoder: AnswerEncoder {
    static let end = Array("data: [DONE]\n\n".utf8)

    private let id: String
    private let created: Int64
    /// As the client wrote it: clients compare.
    private let model: String
    private let fingerprint: String
    private let includesUsage: Bool
    private let choices: Int
    /// The client named the one function to call.
    private let isForced: Bool
    private let context: ContextReport
    /// `data: {…,"choices":[`
    private let prefix: [UInt8]
    /// Log-probabilities that go with the next piece of text, by choice.
    private var logprobs: [Int: [TokenProbability]] = [:]
    /// Who went on with the answer, by choice.
    private var failovers: [Int: [Failover]] = [:]

    /// - Parameter id: the answer's id, the same in every chunk.
    init(_ request: ChatCompletionRequest, answer: ChatAnswer, id: String) {
        self.init(
            id: id, model: request.chat.model, answer: answer, choices: request.chat.choices,
            includesUsage: request.includesUsage, toolChoice: request.chat.shape.toolChoice)
    }

    init(
        id: String, model: String, answer: ChatAnswer, choices: Int = 1, includesUsage: Bool = false,
        toolChoice: ToolChoice = .auto
    ) {
        self.id = id
        self.model = model
        self.includesUsage = includesUsage
        self.choices = choices
        if case .named = toolChoice { isForced = true } else { isForced = false }
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
    func opening() -> [UInt8] {
        (0..<choices).flatMap { choice in
            let report = choice == 0 ? omission.map { #","igris":\#($0.text)"# } ?? "" : ""
            return chunk(choice, #""role":"assistant","content":"""#, finish: "null", more: report)
        }
    }

    mutating func piece(_ event: ChatEvent) -> [UInt8] {
        switch event {
        case .text(let choice, let text): return delta(choice, "content", text)
        case .reasoning(let choice, let text): return delta(choice, "reasoning_content", text)
        case .toolCall(let choice, let piece):
            return chunk(choice, #""tool_calls":[\#(Self.json(piece).text)]"#, finish: "null")
        case .logprobs(let choice, let tokens):
            logprobs[choice, default: []] += tokens
            return []
        case .moved(let choice, let failover):
            failovers[choice, default: []].append(failover)
            return []
        case .finished(let choice, let reason, _):
            // Of tokens behind which no text came.
            let rest = logprobs.removeValue(forKey: choice).map { #","logprobs":\#(Self.json($0).text)"# } ?? ""
            let report = failovers[choice]?.report.map { #","igris":\#($0.text)"# } ?? ""
            return chunk(choice, "", finish: #""\#(word(reason))"\#(rest)"#, more: report)
        }
    }

    func closing(_ choices: [AnswerTally.Choice], _ usage: TokenUsage) -> [UInt8] {
        (includesUsage ? self.usage(usage) : []) + Self.end
    }

    /// The only way to tell a client in mid-stream: its library raises this as an error.
    static func failure(_ error: APIError) -> [UInt8] {
        Array("data: ".utf8) + error.body + Array("\n\n".utf8)
    }

    private mutating func delta(_ choice: Int, _ name: StaticString, _ text: String) -> [UInt8] {
        var bytes = prefix
        bytes.reserveCapacity(prefix.count + text.utf8.count + 96)
        bytes.append(contentsOf: #"{"index":"#.utf8)
        bytes.append(contentsOf: String(choice).utf8)
        bytes.append(contentsOf: #","delta":{""#.utf8)
        name.withUTF8Buffer { bytes.append(contentsOf: $0) }
        bytes.append(contentsOf: #"":"#.utf8)
        JSON.write(text, to: &bytes)
        bytes.append(contentsOf: #"},"finish_reason":null"#.utf8)
        if !logprobs.isEmpty, let tokens = logprobs.removeValue(forKey: choice) {
            bytes.append(contentsOf: #","logprobs":"#.utf8)
            bytes += Self.json(tokens).encoded
        }
        bytes.append(contentsOf: "}]".utf8)
        bytes.append(contentsOf: suffix)
        return bytes
    }

    private func usage(_ usage: TokenUsage) -> [UInt8] {
        prefix + Array(#"],"usage":\#(usage.json.text)}"#.utf8) + Array("\n\n".utf8)
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
                    "message": choice.message.answerJSON,
                    "logprobs": choice.logprobs.isEmpty ? nil : Self.json(choice.logprobs),
                    "finish_reason": .string(word(choice.reason)),
                ]
            })
        object["usage"] = usage.json
        var igris = omission?.object ?? JSON.Object()
        igris["failover"] = choices.flatMap(\.failovers).json
        if !igris.members.isEmpty { object["igris"] = .object(igris) }
        return .object(object)
    }

    // MARK: Parts

    /// A piece of a call: its first one says which function.
    private static func json(_ piece: ToolCallPiece) -> JSON {
        var object = JSON.Object()
        object["index"] = .integer(Int64(piece.index))
        var function = JSON.Object()
        if let id = piece.id, let name = piece.name {
            object["id"] = .string(id)
            object["type"] = "function"
            function["name"] = .string(name)
        }
        function["arguments"] = .string(piece.arguments)
        object["function"] = .object(function)
        return .object(object)
    }

    private static func json(_ tokens: [TokenProbability]) -> JSON {
        ["content": .array(tokens.map(\.json)), "refusal": nil]
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

    /// OpenAI knows no word for an answer that broke off; one never reaches this point (``AnswerTally``). A call that
    /// the client forced is no reason of the model's own.
    private func word(_ reason: FinishReason) -> String {
        switch reason {
        case .length: "length"
        case .toolCalls: isForced ? "stop" : "tool_calls"
        case .stop, .aborted, .failed: "stop"
        }
    }
}

extension TokenUsage {
    /// As chat completions count.
    var json: JSON {
        [
            "prompt_tokens": .integer(Int64(promptTokens)), "completion_tokens": .integer(Int64(completionTokens)),
            "total_tokens": .integer(Int64(totalTokens)),
            "prompt_tokens_details": ["cached_tokens": .integer(Int64(cachedTokens))],
        ]
    }
}

extension ToolCall {
    var json: JSON {
        [
            "id": .string(id), "type": "function",
            "function": ["name": .string(name), "arguments": .string(arguments)],
        ]
    }
}

extension TokenProbability {
    var json: JSON {
        guard case .object(var object) = chosen.json else { return nil }
        object["top_logprobs"] = .array(alternatives.map(\.json))
        return .object(object)
    }
}

extension TokenProbability.Alternative {
    var json: JSON {
        [
            "token": .string(token), "logprob": .number(max(logprob, -9999)),
            "bytes": .array(bytes.map { .integer(Int64($0)) }),
        ]
    }
}

extension Message {
    /// An assistant's message as chat completions show it.
    var answerJSON: JSON {
        var object = JSON.Object()
        object["role"] = "assistant"
        object["content"] = text.isEmpty && !toolCalls.isEmpty ? JSON.null : .string(text)
        object["refusal"] = .null
        if let reasoning { object["reasoning_content"] = .string(reasoning) }
        if !toolCalls.isEmpty { object["tool_calls"] = .array(toolCalls.map(\.json)) }
        return .object(object)
    }
}
