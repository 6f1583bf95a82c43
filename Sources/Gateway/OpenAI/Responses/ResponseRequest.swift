import Core
import HTTPTypes

/// A `POST /v1/responses` understood: the canonical request, and what of it the client gets back later.
///
/// Tools of types that this version does not know are left out, as clients expect (wire.md §5.7); of everything else
/// that cannot be done the field is named.
struct ResponseRequest {
    var chat: ChatRequest
    var streams: Bool
    /// As the client sent them; the response shows them again.
    let record: ResponseRecord

    /// - Parameter compacted: what a compaction item in the input stands for; it goes on from there.
    ///
    /// Throws ``RuntimeError`` `.invalidRequest` with the field's name.
    init(_ json: JSON, headers: HTTPFields, after compacted: Dot? = nil) throws(RuntimeError) {
        guard json.object != nil else {
            throw RuntimeError(.invalidRequest, "the body must be a JSON object with \"model\" and \"input\"")
        }
        let fields = RequestFields(json: json)
        let input = try ResponseInput(fields)
        try input.checkAnswerable(fields)
        if json["prompt"].asksForSomething {
            throw fields.refusal("prompt", "is not supported: this host stores no prompt templates")
        }
        chat = ChatRequest(model: try fields.model(), messages: input.messages)
        streams = try fields.flag("stream") ?? false
        chat.instructions = try fields.text("instructions")
        chat.user = try fields.user()
        chat.maximumTokens = try fields.integer("max_output_tokens", in: 1...Int64.max).map { Int(clamping: $0) }
        chat.sampling = try fields.sampling()
        chat.shape = try Self.shape(fields)
        chat.asksAnew = true
        chat.keeps = try fields.flag("store") ?? true
        chat.runsInBackground = try fields.flag("background") ?? false
        if chat.runsInBackground, !chat.keeps {
            throw fields.refusal("background", "needs \"store\": true: the answer is fetched later")
        }
        chat.continuation = try Self.continuation(fields, headers, keeps: chat.keeps, after: compacted)
        switch try fields.text("truncation") {
        case nil, "auto": break
        case "disabled": chat.mustFitWhole = true
        default: throw fields.refusal("truncation", "must be auto or disabled")
        }
        _ = try fields.metadata()
        chat.idempotencyKey = try RequestFields.idempotencyKey(headers)
        chat.isRetry = RequestFields.isRetry(headers)
        try chat.readTurn(fields, headers)
        record = ResponseRecord(of: fields, messages: input.messages.count)
        if chat.keeps { chat.annotation = record.annotation }
    }

    private static func shape(_ fields: RequestFields) throws(RuntimeError) -> AnswerShape {
        var shape = AnswerShape()
        for tool in try fields.objects("tools") {
            guard try tool.required("type") == "function" else { continue }
            shape.tools.append(try tool.tool())
        }
        shape.toolChoice = try toolChoice(fields, &shape.tools)
        try fields.check(shape.toolChoice, among: shape.tools)
        shape.parallelToolCalls = try fields.flag("parallel_tool_calls")
        if let text = try fields.nested("text"), let format = try text.nested("format") {
            switch try format.text("type") {
            case "text": break
            case "json_object": shape.format = .jsonObject
            case "json_schema": shape.format = try format.schema()
            default: throw format.refusal("type", "must be \"text\", \"json_object\" or \"json_schema\"")
            }
        }
        let alternatives = try fields.integer("top_logprobs", in: 0...20) ?? 0
        let includes = try fields.list("include") ?? []
        if alternatives > 0 || includes.contains("message.output_text.logprobs") {
            shape.logprobs = Int(alternatives)
        }
        return shape
    }

    private static func toolChoice(
        _ fields: RequestFields, _ tools: inout [Tool]
    ) throws(RuntimeError) -> ToolChoice {
        guard let value = fields.json["tool_choice"] else { return .auto }
        let words: [String: ToolChoice] = ["auto": .auto, "none": .none, "required": .required]
        if let choice = value.string.flatMap({ words[$0] }) { return choice }
        guard value.object != nil, let choice = try fields.nested("tool_choice") else {
            throw fields.refusal("tool_choice", "must be \"none\", \"auto\", \"required\" or name one function")
        }
        switch try choice.text("type") {
        case "function": return .named(try choice.functionName())
        case "allowed_tools":
            let allowed = Set(
                try choice.objects("tools").map { fields throws(RuntimeError) in try fields.text("name") })
            tools.removeAll { !allowed.contains($0.name) }
            guard let mode = words[try choice.required("mode")] else {
                throw choice.refusal("mode", "must be auto or required")
            }
            return mode
        default: throw choice.refusal("type", "must be function or allowed_tools")
        }
    }

    /// Which conversation: an earlier response, or one that is named; else one of its own.
    private static func continuation(
        _ fields: RequestFields, _ headers: HTTPFields, keeps: Bool, after compacted: Dot?
    ) throws(RuntimeError) -> ChatRequest.Continuation {
        let previous = try fields.text("previous_response_id")
        if let compacted {
            guard previous == nil, fields.json["conversation"] == nil else {
                throw fields.refusal(
                    "input",
                    "holds a compaction item, which goes on from what it stands for: send it without "
                        + "previous_response_id and conversation")
            }
            return .after(compacted)
        }
        if let value = fields.json["conversation"] {
            guard previous == nil else {
                throw fields.refusal("conversation", "cannot be joined with previous_response_id; send one of them")
            }
            return .conversation(try RequestFields.conversation(value.string ?? value["id"]?.string, "conversation"))
        }
        if let previous {
            // One that cannot be an id names nothing, as one that is not here.
            return .after(ResponseRecord.question(ofResponse: previous) ?? .nowhere)
        }
        if let header = headers[.conversationID] {
            return .conversation(try RequestFields.conversation(header, "X-Conversation-Id"))
        }
        return keeps ? .new : .off
    }
}

extension Dot {
    /// No operation has it: they are counted from 1.
    fileprivate static let nowhere = Dot(
        origin: Origin(node: NodeID(Bytes16(high: 0, low: 0)), epoch: 0), sequence: 0)
}
