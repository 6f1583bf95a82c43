import Core

/// A request in the words of the OpenAI API, as upstreams take it; what a server adds to them comes in `extras`.
struct ChatBody: Sendable {
    /// The model's name at the upstream.
    var model: String
    /// Nil leaves the length to the upstream.
    var maximumTokens: Int?
    /// The field that says so.
    var limitField = "max_tokens"
    /// Applied to each text that becomes part of the prompt.
    var prompted: @Sendable (String) -> String = { $0 }
    /// Only the function that must be called is offered, for upstreams that know no choice by name.
    var namesByOffering = false
    /// The answer shall come in one piece, not as a stream.
    var isWhole = false
    var extras: [(key: String, value: JSON)] = []

    func json(_ request: GenerationRequest) -> JSON {
        var body = JSON.Object()
        body["model"] = .string(model)
        if let prompt = request.rawPrompt {
            body["prompt"] = .string(prompt)
            body["logprobs"] = request.shape.logprobs.map { .integer(Int64(max(1, $0))) }
        } else {
            body["messages"] = .array(request.messages.map(message))
            shape(request.shape, into: &body)
        }
        body["stream"] = .bool(!isWhole)
        if !isWhole { body["stream_options"] = ["include_usage": true] }
        body[limitField] = maximumTokens.map { .integer(Int64($0)) }
        if !request.stop.isEmpty { body["stop"] = .array(request.stop.map { .string($0) }) }
        sampling(request.sampling, into: &body)
        for extra in extras { body[extra.key] = extra.value }
        return .object(body)
    }

    /// The same prompt, to be counted.
    func countJSON(_ messages: [Message], shape: AnswerShape) -> JSON {
        var body = JSON.Object()
        body["messages"] = .array(messages.map(message))
        tools(shape, into: &body)
        return .object(body)
    }

    private func message(_ message: Message) -> JSON {
        var object = JSON.Object()
        object["role"] = .string(message.role.rawValue)
        object["content"] =
            message.text.isEmpty && !message.toolCalls.isEmpty ? .null : .string(prompted(message.text))
        if !message.toolCalls.isEmpty { object["tool_calls"] = .array(message.toolCalls.map(call)) }
        object["tool_call_id"] = message.toolCallID.map { .string(prompted($0)) }
        return .object(object)
    }

    private func call(_ call: ToolCall) -> JSON {
        // Templates read the arguments: what a model broke would break the next prompt.
        let isWhole = (try? JSON.parse(call.arguments))?.object != nil
        let arguments = isWhole ? call.arguments : JSON(dictionaryLiteral: ("text", .string(call.arguments))).text
        return [
            "id": .string(prompted(call.id)), "type": "function",
            "function": ["name": .string(prompted(call.name)), "arguments": .string(prompted(arguments))],
        ]
    }

    private func shape(_ shape: AnswerShape, into body: inout JSON.Object) {
        tools(shape, into: &body)
        switch shape.format {
        case .text: break
        case .jsonObject: body["response_format"] = ["type": "json_object"]
        case .jsonSchema(let name, let schema):
            body["response_format"] = [
                "type": "json_schema", "json_schema": ["name": .string(name), "schema": schema, "strict": true],
            ]
        }
        if let alternatives = shape.logprobs {
            body["logprobs"] = true
            // Some take none for no log-probabilities at all.
            body["top_logprobs"] = .integer(Int64(max(1, alternatives)))
        }
    }

    private func tools(_ shape: AnswerShape, into body: inout JSON.Object) {
        guard shape.offersTools else { return }
        var offered = shape.tools
        switch shape.toolChoice {
        case .auto: body["tool_choice"] = "auto"
        case .none: return
        case .required: body["tool_choice"] = "required"
        case .named(let name) where namesByOffering:
            offered = offered.filter { $0.name == name }
            body["tool_choice"] = "required"
        case .named(let name):
            body["tool_choice"] = ["type": "function", "function": ["name": .string(name)]]
        }
        body["tools"] = .array(offered.map(tool))
        body["parallel_tool_calls"] = shape.parallelToolCalls.map { .bool($0) }
    }

    private func tool(_ tool: Tool) -> JSON {
        var function = JSON.Object()
        function["name"] = .string(prompted(tool.name))
        function["description"] = tool.description.map { .string(prompted($0)) }
        function["parameters"] = tool.parameters.map(prompted(in:))
        if tool.isStrict { function["strict"] = true }
        return ["type": "function", "function": .object(function)]
    }

    /// Every text of a schema: templates print it whole.
    private func prompted(in json: JSON) -> JSON {
        switch json {
        case .string(let text): return .string(prompted(text))
        case .array(let items): return .array(items.map(prompted(in:)))
        case .object(let object):
            var result = JSON.Object()
            for (key, value) in object.members { result[prompted(key)] = prompted(in: value) }
            return .object(result)
        case .null, .bool, .integer, .number: return json
        }
    }

    private func sampling(_ sampling: Sampling, into body: inout JSON.Object) {
        body["temperature"] = sampling.temperature.map { .number($0) }
        body["top_p"] = sampling.topP.map { .number($0) }
        body["top_k"] = sampling.topK.map { .integer(Int64($0)) }
        body["min_p"] = sampling.minP.map { .number($0) }
        body["seed"] = sampling.seed.map { .integer(Int64(bitPattern: $0 & UInt64(Int64.max))) }
        body["presence_penalty"] = sampling.presencePenalty.map { .number($0) }
        body["frequency_penalty"] = sampling.frequencyPenalty.map { .number($0) }
        guard !sampling.logitBias.isEmpty else { return }
        var bias = JSON.Object()
        for (token, value) in sampling.logitBias.sorted(by: { $0.key < $1.key }) { bias["\(token)"] = .number(value) }
        body["logit_bias"] = .object(bias)
    }
}
