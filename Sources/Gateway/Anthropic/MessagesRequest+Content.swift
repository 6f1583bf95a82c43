import Core

extension MessagesRequest {
    /// Instructions: a string, or blocks of text.
    static func system(_ fields: RequestFields) throws(RuntimeError) -> [Message] {
        guard let value = fields.json["system"] else { return [] }
        if let text = value.string { return text.isEmpty ? [] : [Message(.system, text)] }
        let text = try texts(of: "system", in: fields, for: "instructions")
        return text.isEmpty ? [] : [Message(.system, text)]
    }

    /// The dialogue. Neighbours of one role are one turn, as Anthropic has it.
    static func messages(_ fields: RequestFields) throws(RuntimeError) -> [Message] {
        let list = try fields.objects("messages")
        guard !list.isEmpty else { throw fields.refusal("messages", "is required: a list of at least one message") }
        var messages: [Message] = []
        for item in list {
            for message in try turn(item) { append(message, to: &messages) }
        }
        guard let last = messages.last, last.role != .assistant else {
            throw fields.refusal(
                "messages", "must not end with an assistant message: no engine of this version goes on with one")
        }
        guard last.role == .tool || !last.text.isEmpty else {
            throw fields.refusal("messages[\(list.count - 1)].content", "must not be empty: it is what is asked")
        }
        return messages
    }

    private static func append(_ message: Message, to messages: inout [Message]) {
        guard let index = messages.indices.last, messages[index].role == message.role, message.role != .tool else {
            return messages.append(message)
        }
        messages[index].text = joined(messages[index].text, message.text)
        messages[index].toolCalls += message.toolCalls
        if let thoughts = message.reasoning {
            messages[index].reasoning = joined(messages[index].reasoning ?? "", thoughts)
        }
    }

    private static func joined(_ left: String, _ right: String) -> String {
        left.isEmpty || right.isEmpty ? left + right : left + "\n" + right
    }

    private static func turn(_ fields: RequestFields) throws(RuntimeError) -> [Message] {
        let role: Message.Role
        switch try fields.text("role") {
        case "user": role = .user
        case "assistant": role = .assistant
        case "system": role = .system
        default: throw fields.refusal("role", "must be \"user\" or \"assistant\"")
        }
        guard let content = fields.json["content"] else { throw fields.refusal("content", "is required") }
        if let text = content.string { return [Message(role, text)] }
        return role == .assistant ? [try assistant(fields)] : try others(fields, role)
    }

    /// What tools gave back are messages of their own, before and after what the user says.
    private static func others(_ fields: RequestFields, _ role: Message.Role) throws(RuntimeError) -> [Message] {
        var messages: [Message] = []
        for block in try fields.objects("content") {
            switch try block.text("type") {
            case "text": append(Message(role, try block.required("text")), to: &messages)
            case "document": append(Message(role, try document(block)), to: &messages)
            case "tool_result" where role == .user:
                messages.append(
                    Message(.tool, try result(block), toolCallID: try block.callID("tool_use_id")))
            default: throw unreadable(block)
            }
        }
        return messages.isEmpty ? [Message(role, "")] : messages
    }

    private static func assistant(_ fields: RequestFields) throws(RuntimeError) -> Message {
        var message = Message(.assistant, "")
        for block in try fields.objects("content") {
            switch try block.text("type") {
            case "text": message.text = joined(message.text, try block.required("text"))
            case "thinking": message.reasoning = joined(message.reasoning ?? "", try block.required("thinking"))
            // What it held is readable for Anthropic only, and no part of a prompt here.
            case "redacted_thinking": break
            case "tool_use":
                guard let input = try block.object("input") else {
                    throw block.refusal("input", "is required: an object")
                }
                message.toolCalls.append(
                    ToolCall(
                        id: try block.callID("id"), name: try block.functionName(),
                        arguments: JSON.object(input).text))
            default: throw unreadable(block)
            }
        }
        return message
    }

    private static func result(_ block: RequestFields) throws(RuntimeError) -> String {
        let text: String
        switch block.json["content"] {
        case nil: text = ""
        case .string(let content): text = content
        default: text = try texts(of: "content", in: block, for: "what a tool gave back")
        }
        // Anthropic's models are told by the flag; a chat template has words only.
        return try block.flag("is_error") == true ? "Error: \(text)" : text
    }

    private static func texts(
        of name: String, in fields: RequestFields, for what: String
    ) throws(RuntimeError) -> String {
        guard try fields.list(name) != nil else { throw fields.refusal(name, "must be a string or a list of blocks") }
        var text = ""
        for block in try fields.objects(name) {
            guard try block.text("type") == "text" else { throw unreadable(block, for: " of \(what)") }
            text = joined(text, try block.required("text"))
        }
        return text
    }

    private static func document(_ block: RequestFields) throws(RuntimeError) -> String {
        guard let source = try block.nested("source"), try source.text("type") == "text" else {
            throw block.refusal("source", "must be of type \"text\": this version's engines read no files")
        }
        return try source.required("data")
    }

    private static func unreadable(_ block: RequestFields, for what: String = "") -> RuntimeError {
        block.refusal("type", "cannot be that\(what): this version's engines read text and tool calls only")
    }
}
