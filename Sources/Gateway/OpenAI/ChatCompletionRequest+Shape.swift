import Core

extension ChatCompletionRequest {
    /// What form the answer must have.
    static func shape(_ fields: RequestFields) throws(RuntimeError) -> AnswerShape {
        var shape = AnswerShape()
        for tool in try fields.objects("tools") {
            guard try tool.text("type") == "function" else {
                throw tool.refusal("type", "must be \"function\": the client runs its tools itself")
            }
            guard let function = try tool.nested("function") else {
                throw tool.refusal("function", "is required: an object with a name")
            }
            shape.tools.append(try function.tool())
        }
        shape.toolChoice = try toolChoice(fields)
        try fields.check(shape.toolChoice, among: shape.tools)
        shape.parallelToolCalls = try fields.flag("parallel_tool_calls")
        shape.format = try format(fields)
        let asksForLogprobs = try fields.flag("logprobs") ?? false
        let alternatives = try fields.integer("top_logprobs", in: 0...20) ?? 0
        if alternatives > 0, !asksForLogprobs {
            throw fields.refusal("top_logprobs", "needs \"logprobs\": true beside it")
        }
        shape.logprobs = asksForLogprobs ? Int(alternatives) : nil
        return shape
    }

    private static func toolChoice(_ fields: RequestFields) throws(RuntimeError) -> ToolChoice {
        guard let value = fields.json["tool_choice"] else { return .auto }
        switch value.string {
        case "auto": return .auto
        case "none": return .none
        case "required": return .required
        default: break
        }
        guard value.object != nil, let choice = try fields.nested("tool_choice"),
            try choice.text("type") == "function", let function = try choice.nested("function")
        else {
            throw fields.refusal("tool_choice", "must be \"none\", \"auto\", \"required\" or name one function")
        }
        return .named(try function.functionName())
    }

    private static func format(_ fields: RequestFields) throws(RuntimeError) -> AnswerShape.Format {
        guard let format = try fields.nested("response_format") else { return .text }
        switch try format.text("type") {
        case "text": return .text
        case "json_object": return .jsonObject
        case "json_schema":
            guard let schema = try format.nested("json_schema") else {
                throw format.refusal("json_schema", "is required: an object with a name and a schema")
            }
            return try schema.schema()
        default: throw format.refusal("type", "must be \"text\", \"json_object\" or \"json_schema\"")
        }
    }

    /// Refuses what no engine does: answering as if it had not been asked would be a silent lie.
    static func refuseUnsupported(_ fields: RequestFields) throws(RuntimeError) {
        let json = fields.json
        if json["functions"].asksForSomething, json["function_call"]?.string != "none" {
            throw fields.refusal("functions", "is the older form of tools; send \"tools\" instead")
        }
        if let choice = json["function_call"], choice.string != "none", choice.string != "auto" {
            throw fields.refusal("function_call", "is the older form of tool_choice; send \"tool_choice\" instead")
        }
        for name in ["audio", "web_search_options", "prediction"] where json[name].asksForSomething {
            throw unsupported(name, fields)
        }
        if let modalities = json["modalities"], modalities != ["text"], modalities != [] {
            throw unsupported("modalities", fields)
        }
    }

    private static func unsupported(_ name: String, _ fields: RequestFields) -> RuntimeError {
        fields.refusal(name, "is not supported: no engine of this version does that")
    }
}
