import Core
import Node

/// What is kept of a Responses request beside its messages, and how a response is put together from that.
struct ResponseRecord: Sendable {
    private static let kind = "response"
    /// Fields that the response shows as they were sent.
    private static let echoed = [
        "background", "conversation", "instructions", "max_output_tokens", "max_tool_calls", "metadata", "model",
        "parallel_tool_calls", "previous_response_id", "prompt_cache_key", "reasoning", "safety_identifier", "store",
        "temperature", "text", "tool_choice", "tools", "top_logprobs", "top_p", "truncation", "user",
    ]

    private let fields: JSON.Object
    /// How many of the turns that end with the question came with the request.
    let messages: Int

    init(of request: RequestFields, messages: Int) {
        var fields = JSON.Object()
        for name in Self.echoed {
            if let value = request.json[name] { fields[name] = value }
        }
        self.fields = fields
        self.messages = messages
    }

    /// Nil for an annotation of something else.
    init?(annotation: JSON?) {
        guard let annotation, annotation["kind"]?.string == Self.kind, let fields = annotation["request"]?.object,
            let messages = annotation["messages"]?.integer
        else { return nil }
        self.fields = fields
        self.messages = max(1, Int(clamping: messages))
    }

    var annotation: JSON {
        ["kind": .string(Self.kind), "messages": .integer(Int64(messages)), "request": .object(fields)]
    }

    var isInBackground: Bool { fields["background"]?.bool == true }

    // MARK: Ids

    static func id(_ question: Dot?) -> String { "resp_\(AnswerID.digits(of: question))" }

    static func question(ofResponse id: String) -> Dot? {
        id.hasPrefix("resp_") ? Dot(digits: id.dropFirst("resp_".count)) : nil
    }

    // MARK: The response

    /// How far a response is, in OpenAI's words.
    struct Standing: Sendable {
        var status: String
        /// Why it is incomplete.
        var reason: String?
        var failure: String?

        static let inProgress = Standing(status: "in_progress")
        static let queued = Standing(status: "queued")

        static func failed(_ message: String) -> Standing { Standing(status: "failed", failure: message) }

        init(status: String, reason: String? = nil, failure: String? = nil) {
            self.status = status
            self.reason = reason
            self.failure = failure
        }

        init(after reason: FinishReason) {
            switch reason {
            case .stop, .toolCalls: self.init(status: "completed")
            case .length: self.init(status: "incomplete", reason: "max_output_tokens")
            case .aborted:
                self.init(
                    status: "incomplete",
                    failure: "the answer broke off: its client went away, or the host was stopped; ask again")
            case .failed: self = .failed("the answer failed before its end; ask again")
            }
        }

        /// Of the items that came.
        var itemStatus: String { status == "completed" ? "completed" : "incomplete" }
    }

    /// - Parameters:
    ///   - output: items, as ``ResponseItem`` makes them.
    ///   - isStored: it can be fetched by its id.
    func response(
        id: String, created: Int64, _ standing: Standing, output: [JSON], usage: TokenUsage?, isStored: Bool
    ) -> JSON {
        var object = JSON.Object()
        object["id"] = .string(id)
        object["object"] = "response"
        object["created_at"] = .integer(created)
        object["status"] = .string(standing.status)
        object["background"] = .bool(isInBackground)
        object["error"] =
            standing.failure.map { ["code": "server_error", "message": .string($0)] } ?? JSON.null
        object["incomplete_details"] = standing.reason.map { ["reason": .string($0)] } ?? JSON.null
        object["instructions"] = fields["instructions"] ?? .null
        object["max_output_tokens"] = fields["max_output_tokens"] ?? .null
        object["max_tool_calls"] = fields["max_tool_calls"] ?? .null
        object["metadata"] = fields["metadata"] ?? [:]
        object["model"] = fields["model"] ?? ""
        object["output"] = .array(output)
        object["parallel_tool_calls"] = fields["parallel_tool_calls"] ?? true
        object["previous_response_id"] = fields["previous_response_id"] ?? .null
        for name in ["prompt_cache_key", "safety_identifier", "user"] { object[name] = fields[name] ?? .null }
        object["reasoning"] = fields["reasoning"] ?? ["effort": nil, "summary": nil]
        object["service_tier"] = "default"
        object["store"] = .bool(isStored)
        object["temperature"] = fields["temperature"] ?? 1.0
        object["text"] = fields["text"] ?? ["format": ["type": "text"]]
        object["tool_choice"] = fields["tool_choice"] ?? "auto"
        object["tools"] = fields["tools"] ?? []
        object["top_logprobs"] = fields["top_logprobs"] ?? 0
        object["top_p"] = fields["top_p"] ?? 1.0
        object["truncation"] = fields["truncation"] ?? "auto"
        object["conversation"] = Self.conversation(fields["conversation"])
        object["usage"] = usage.map(Self.json) ?? .null
        return .object(object)
    }

    private static func conversation(_ value: JSON?) -> JSON {
        guard let id = value?.string ?? value?["id"]?.string else { return .null }
        return ["id": .string(id)]
    }

    static func json(_ usage: TokenUsage) -> JSON {
        [
            "input_tokens": .integer(Int64(usage.promptTokens)),
            "input_tokens_details": [
                "cached_tokens": .integer(Int64(usage.cachedTokens)), "cache_write_tokens": 0,
            ],
            "output_tokens": .integer(Int64(usage.completionTokens)),
            "output_tokens_details": ["reasoning_tokens": 0],
            "total_tokens": .integer(Int64(usage.totalTokens)),
        ]
    }
}
