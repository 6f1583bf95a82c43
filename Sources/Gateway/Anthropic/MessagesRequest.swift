import Core
import HTTPTypes

/// A `POST /v1/messages` understood: the canonical request, and how the client wants to be answered.
///
/// `"store": false` keeps nothing, as in OpenAI's dialect; Anthropic's own has no word for that. Unknown fields are
/// ignored, as are the versions and betas that the headers name. Tools that Anthropic's servers
/// would run themselves (`web_search_…`) are not offered to the model: nobody here runs them.
struct MessagesRequest {
    var chat: ChatRequest
    var streams: Bool
    /// The client wants to see what the model thought.
    var showsThinking: Bool

    /// - Parameter countsOnly: `count_tokens`, which asks for no answer and so names no bound of it.
    ///
    /// Throws ``RuntimeError`` `.invalidRequest` with the field's name.
    init(_ json: JSON, headers: HTTPFields, countsOnly: Bool = false) throws(RuntimeError) {
        guard json.object != nil else {
            throw RuntimeError(
                .invalidRequest, "the body must be a JSON object with \"model\", \"max_tokens\" and \"messages\"")
        }
        let fields = RequestFields(json: json)
        chat = ChatRequest(
            model: try fields.model(), messages: try Self.system(fields) + Self.messages(fields))
        let limit = try fields.integer("max_tokens", in: 1...Int64.max)
        guard countsOnly || limit != nil else {
            throw fields.refusal("max_tokens", "is required: how many tokens the answer may have at most")
        }
        chat.maximumTokens = limit.map { Int(clamping: $0) }
        chat.stop = try Self.stop(fields)
        chat.sampling.temperature = try fields.number("temperature", in: 0...1)
        chat.sampling.topP = try fields.number("top_p", in: 0...1)
        chat.sampling.topK = try fields.integer("top_k", in: 0...Int64(Int32.max)).map { Int($0) }
        chat.shape = try Self.shape(fields)
        chat.user = try Self.user(fields)
        if try fields.flag("store") == false {
            chat.continuation = .off
        } else if let header = headers[.conversationID] {
            chat.continuation = .conversation(try RequestFields.conversation(header, "X-Conversation-Id"))
        }
        chat.idempotencyKey = try RequestFields.idempotencyKey(headers)
        chat.isRetry = RequestFields.isRetry(headers)
        try chat.readTurn(fields, headers)
        streams = try fields.flag("stream") ?? false
        showsThinking = try Self.showsThinking(fields)
    }

    private static let userBytes = 512

    private static func stop(_ fields: RequestFields) throws(RuntimeError) -> [String] {
        guard let list = try fields.list("stop_sequences") else { return [] }
        let strings = list.compactMap(\.string)
        guard strings.count == list.count, strings.count <= Limits.stopStrings,
            strings.allSatisfy({ !$0.isEmpty && $0.utf8.count <= Limits.stopStringBytes })
        else {
            throw fields.refusal(
                "stop_sequences",
                "must be at most \(Limits.stopStrings) strings of 1 to \(Limits.stopStringBytes) bytes")
        }
        return strings
    }

    /// Tells apart the default conversations behind one key, as OpenAI's `user` does.
    private static func user(_ fields: RequestFields) throws(RuntimeError) -> String? {
        guard let metadata = try fields.nested("metadata"), let user = try metadata.text("user_id"), !user.isEmpty
        else { return nil }
        guard user.utf8.count <= userBytes else {
            throw metadata.refusal("user_id", "is longer than \(userBytes) bytes")
        }
        return user
    }

    private static func showsThinking(_ fields: RequestFields) throws(RuntimeError) -> Bool {
        guard let thinking = try fields.nested("thinking") else { return false }
        switch try thinking.text("type") {
        case "enabled", "adaptive": return true
        case "disabled": return false
        default: throw thinking.refusal("type", "must be \"enabled\", \"adaptive\" or \"disabled\"")
        }
    }

    // MARK: The answer's shape

    private static func shape(_ fields: RequestFields) throws(RuntimeError) -> AnswerShape {
        var shape = AnswerShape()
        for tool in try fields.objects("tools") {
            // Those of a type are the server's own: see above.
            guard try tool.text("type") ?? "custom" == "custom" else { continue }
            shape.tools.append(
                Tool(
                    name: try tool.functionName(), description: try tool.text("description"),
                    parameters: try tool.object("input_schema").map { .object($0) },
                    isStrict: try tool.flag("strict") ?? false))
        }
        if let choice = try fields.nested("tool_choice") {
            shape.toolChoice = try toolChoice(choice)
            if try choice.flag("disable_parallel_tool_use") == true { shape.parallelToolCalls = false }
        }
        try fields.check(shape.toolChoice, among: shape.tools)
        // The newer place of the same object, and the older one.
        if let format = try fields.nested("output_config")?.nested("format") {
            shape.format = try self.format(format)
        } else if let format = try fields.nested("output_format") {
            shape.format = try self.format(format)
        }
        return shape
    }

    private static func toolChoice(_ choice: RequestFields) throws(RuntimeError) -> ToolChoice {
        switch try choice.text("type") {
        case "auto": return .auto
        case "any": return .required
        case "none": return .none
        case "tool": return .named(try choice.functionName())
        default: throw choice.refusal("type", "must be \"auto\", \"any\", \"tool\" or \"none\"")
        }
    }

    private static func format(_ format: RequestFields) throws(RuntimeError) -> AnswerShape.Format {
        guard try format.text("type") == "json_schema" else {
            throw format.refusal("type", "must be \"json_schema\"")
        }
        guard let schema = try format.object("schema") else {
            throw format.refusal("schema", "is required: a JSON Schema")
        }
        return .jsonSchema(name: "output", schema: .object(schema))
    }
}
