import Core
import Node

/// Writes one answer in Anthropic's words: the events of a stream in their order (wire.md §5.7), or the message whole.
struct MessagesEncoder: AnswerEncoder {
    private enum Block {
        case text
        case thinking
        case tool
    }

    private let id: String
    /// As the client wrote it: clients compare.
    private let model: String
    private let showsThinking: Bool
    private let context: ContextReport
    /// What is open, and how many blocks have been.
    private var block: Block?
    private var blocks = 0
    private var reason = FinishReason.stop
    private let stops: [String]

    init(_ request: MessagesRequest, answer: ChatAnswer, id: String) {
        self.id = id
        stops = request.chat.stop
        model = request.chat.model
        showsThinking = request.showsThinking
        context = answer.context
    }

    /// Of an answer that is told again: what its request said is known no more.
    init(id: String, answer: ChatAnswer) {
        self.id = id
        stops = []
        model = answer.model
        showsThinking = true
        context = answer.context
    }

    // MARK: Events

    func opening() -> [UInt8] {
        var message = frame
        message["content"] = []
        message["stop_reason"] = .null
        message["stop_sequence"] = .null
        message["usage"] = Self.json(TokenUsage(promptTokens: context.promptTokens, completionTokens: 0))
        return Self.event("message_start", ["message": .object(message)]) + Self.event("ping", [:])
    }

    mutating func piece(_ event: ChatEvent) -> [UInt8] {
        switch event {
        case .text(_, let text):
            return begin(.text, ["type": "text", "text": ""]) + delta("text_delta", "text", text)
        case .reasoning(_, let text):
            guard showsThinking else { return [] }
            return begin(.thinking, ["type": "thinking", "thinking": "", "signature": ""])
                + delta("thinking_delta", "thinking", text)
        case .toolCall(_, let piece):
            var bytes: [UInt8] = []
            if let id = piece.id, let name = piece.name {
                bytes += end()
                bytes += begin(
                    .tool, ["type": "tool_use", "id": .string(id), "name": .string(name), "input": [:]])
            }
            guard !piece.arguments.isEmpty else { return bytes }
            return bytes + delta("input_json_delta", "partial_json", piece.arguments)
        case .finished(_, let reason, _):
            self.reason = reason
            return []
        case .logprobs, .moved: return []
        }
    }

    mutating func closing(_ choices: [AnswerTally.Choice], _ usage: TokenUsage) -> [UInt8] {
        var fields = JSON.Object()
        fields["delta"] = [
            "stop_reason": .string(word(reason, usage)), "stop_sequence": .string(stop(reason, usage)),
        ]
        fields["usage"] = Self.json(usage)
        fields["igris"] = choices.first?.failovers.report
        return end() + Self.event("message_delta", .object(fields)) + Self.event("message_stop", [:])
    }

    static func failure(_ error: APIError) -> [UInt8] {
        event("error", ["error": AnthropicError.object(error)])
    }

    /// Opens a block, unless one of its kind is open; another one is closed first.
    private mutating func begin(_ kind: Block, _ content: JSON) -> [UInt8] {
        guard block != kind else { return [] }
        let before = end()
        block = kind
        return before
            + Self.event(
                "content_block_start", ["index": .integer(Int64(blocks)), "content_block": content])
    }

    private mutating func end() -> [UInt8] {
        guard let block else { return [] }
        var bytes: [UInt8] = []
        if block == .thinking { bytes += delta("signature_delta", "signature", Self.signature) }
        bytes += Self.event("content_block_stop", ["index": .integer(Int64(blocks))])
        self.block = nil
        blocks += 1
        return bytes
    }

    /// By hand: it is written for every token.
    private func delta(_ type: String, _ field: String, _ text: String) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.utf8.count + 160)
        bytes.append(contentsOf: "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":".utf8)
        bytes.append(contentsOf: String(blocks).utf8)
        bytes.append(contentsOf: ",\"delta\":{\"type\":\"\(type)\",\"\(field)\":".utf8)
        JSON.write(text, to: &bytes)
        bytes.append(contentsOf: "}}\n\n".utf8)
        return bytes
    }

    private static func event(_ name: String, _ fields: JSON) -> [UInt8] {
        var object = JSON.Object()
        object["type"] = .string(name)
        for member in fields.object?.members ?? [] { object[member.key] = member.value }
        return Array("event: \(name)\ndata: ".utf8) + JSON.object(object).encoded + Array("\n\n".utf8)
    }

    // MARK: The whole answer

    func whole(_ choices: [AnswerTally.Choice], _ usage: TokenUsage) -> JSON {
        var message = frame
        let choice = choices.first
        message["content"] = .array(choice.map { content(of: $0.message) } ?? [])
        message["stop_reason"] = .string(word(choice?.reason ?? .stop, usage))
        message["stop_sequence"] = .string(stop(choice?.reason ?? .stop, usage))
        message["usage"] = Self.json(usage)
        message["igris"] = choice?.failovers.report
        return .object(message)
    }

    private func content(of message: Message) -> [JSON] {
        var blocks: [JSON] = []
        if showsThinking, let thoughts = message.reasoning, !thoughts.isEmpty {
            blocks.append(
                ["type": "thinking", "thinking": .string(thoughts), "signature": .string(Self.signature)])
        }
        if !message.text.isEmpty { blocks.append(["type": "text", "text": .string(message.text)]) }
        blocks += message.toolCalls.map { call in
            ["type": "tool_use", "id": .string(call.id), "name": .string(call.name), "input": call.argumentsObject]
        }
        return blocks
    }

    // MARK: Parts

    private var frame: JSON.Object {
        var message = JSON.Object()
        message["id"] = .string(id)
        message["type"] = "message"
        message["role"] = "assistant"
        message["model"] = .string(model)
        return message
    }

    /// Libraries want one that is not empty and send it back; what this host's models think is not signed.
    private static let signature = "unsigned"

    /// Anthropic counts what was cached apart from the rest of the prompt.
    private static func json(_ usage: TokenUsage) -> JSON {
        let cached = min(usage.cachedTokens, usage.promptTokens)
        return [
            "input_tokens": .integer(Int64(usage.promptTokens - cached)), "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": .integer(Int64(cached)),
            "output_tokens": .integer(Int64(usage.completionTokens)),
        ]
    }

    private func word(_ reason: FinishReason, _ usage: TokenUsage) -> String {
        switch reason {
        case .length: "max_tokens"
        case .toolCalls: "tool_use"
        case .stop, .aborted, .failed: stop(reason, usage) == nil ? "end_turn" : "stop_sequence"
        }
    }

    /// The client's string that ended the answer, where the engine tells which.
    private func stop(_ reason: FinishReason, _ usage: TokenUsage) -> String? {
        reason == .stop ? usage.stop.flatMap { stops.contains($0) ? $0 : nil } : nil
    }
}

extension ToolCall {
    /// For dialects that carry arguments as an object. What the model wrote and is none stands under one name, so that
    /// it is not lost.
    var argumentsObject: JSON {
        if arguments.isEmpty { return [:] }
        if let json = try? JSON.parse(arguments), json.object != nil { return json }  // broken: as the model wrote it
        return ["unparsed": .string(arguments)]
    }
}
