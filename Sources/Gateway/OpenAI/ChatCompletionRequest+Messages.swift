import Core

extension ChatCompletionRequest {
    static func messages(_ fields: RequestFields) throws(RuntimeError) -> [Message] {
        guard let list = try fields.list("messages"), !list.isEmpty else {
            throw fields.refusal("messages", "is required: a list of at least one message")
        }
        var messages: [Message] = []
        messages.reserveCapacity(list.count)
        for (index, item) in list.enumerated() {
            guard item.object != nil else { throw fields.refusal("messages[\(index)]", "must be an object") }
            messages.append(try message(RequestFields(json: item, path: "messages[\(index)].")))
        }
        guard let last = messages.last, last.role != .assistant else {
            throw fields.refusal("messages", "must not end with an assistant message: there is nothing to answer")
        }
        guard last.role == .tool || !last.text.isEmpty else {
            throw fields.refusal("messages[\(messages.count - 1)].content", "must not be empty: it is what is asked")
        }
        return messages
    }

    private static func message(_ fields: RequestFields) throws(RuntimeError) -> Message {
        let role: Message.Role
        switch try fields.text("role") {
        case "system", "developer": role = .system
        case "user": role = .user
        case "assistant": role = .assistant
        case "tool": role = .tool
        default: throw fields.refusal("role", "must be one of system, developer, user, assistant, tool")
        }
        for name in ["function_call", "audio"] where fields.json[name].asksForSomething {
            throw fields.refusal(name, "is not supported; calls stand in \"tool_calls\"")
        }
        // Thoughts (`reasoning_content`) are not read: no prompt holds them.
        var calls: [ToolCall] = []
        if role == .assistant { calls = try toolCalls(fields) }
        let text = calls.isEmpty || fields.json["content"] != nil ? try content(fields, role) : ""
        var message = Message(role, text, toolCalls: calls)
        if role == .tool { message.toolCallID = try fields.callID("tool_call_id") }
        return message
    }

    private static func toolCalls(_ fields: RequestFields) throws(RuntimeError) -> [ToolCall] {
        var calls: [ToolCall] = []
        for call in try fields.objects("tool_calls") {
            guard let function = try call.nested("function") else {
                throw call.refusal("function", "is required: an object with name and arguments")
            }
            calls.append(
                ToolCall(
                    id: try call.callID("id"), name: try function.functionName(),
                    arguments: try function.required("arguments")))
        }
        return calls
    }

    /// A string, or a list of parts whose texts stand on lines of their own.
    private static func content(_ fields: RequestFields, _ role: Message.Role) throws(RuntimeError) -> String {
        guard let value = fields.json["content"] else {
            // An assistant's turn that was only a refusal says it elsewhere.
            if role == .assistant, let refusal = try fields.text("refusal") { return refusal }
            throw fields.refusal("content", "is required")
        }
        if let text = value.string { return text }
        guard let parts = value.array else { throw fields.refusal("content", "must be a string or a list of parts") }
        var texts: [String] = []
        for (index, part) in parts.enumerated() {
            let fields = RequestFields(json: part, path: "\(fields.path)content[\(index)].")
            switch try fields.text("type") {
            case "text", "input_text": texts.append(try text("text", of: fields))
            case "refusal": texts.append(try text("refusal", of: fields))
            case nil: throw fields.refusal("type", "is required")
            default:
                throw fields.refusal("type", "must be \"text\": this version's engines read no images, audio or files")
            }
        }
        return texts.joined(separator: "\n")
    }

    private static func text(_ name: String, of fields: RequestFields) throws(RuntimeError) -> String {
        guard let text = try fields.text(name) else { throw fields.refusal(name, "is required") }
        return text
    }
}
