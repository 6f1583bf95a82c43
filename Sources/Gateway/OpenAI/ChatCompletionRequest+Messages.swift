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
        guard !last.text.isEmpty else {
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
        case "tool", "function":
            throw fields.refusal("role", "cannot be a tool's: this version's engines call no tools")
        default: throw fields.refusal("role", "must be one of system, developer, user, assistant")
        }
        for name in ["tool_calls", "function_call", "audio"] where asksForSomething(fields.json[name]) {
            throw fields.refusal(name, "is not supported: this version's engines answer with text only")
        }
        return Message(role, try content(fields, role))
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

extension ChatCompletionRequest {
    /// Refuses what asks for more than text: answering as if it had not been asked would be a silent lie.
    static func refuseUnsupported(_ fields: RequestFields) throws(RuntimeError) {
        let json = fields.json
        let usesTools = json["tool_choice"]?.string != "none"
        if asksForSomething(json["tools"]), usesTools { throw unsupported("tools", fields) }
        if asksForSomething(json["functions"]), json["function_call"]?.string != "none" {
            throw unsupported("functions", fields)
        }
        for name in ["tool_choice", "function_call"] {
            guard let choice = json[name], choice.string != "none", choice.string != "auto" else { continue }
            throw unsupported(name, fields)
        }
        if let format = json["response_format"], format["type"]?.string != "text" {
            throw unsupported("response_format", fields)
        }
        if try fields.flag("logprobs") == true { throw unsupported("logprobs", fields) }
        if try fields.integer("top_logprobs", in: 0...20) ?? 0 > 0 { throw unsupported("top_logprobs", fields) }
        for name in ["logit_bias", "audio", "web_search_options"] where asksForSomething(json[name]) {
            throw unsupported(name, fields)
        }
        if let modalities = json["modalities"], modalities != ["text"], modalities != [] {
            throw unsupported("modalities", fields)
        }
    }

    private static func unsupported(_ name: String, _ fields: RequestFields) -> RuntimeError {
        fields.refusal(name, "is not supported: this version's engines answer with plain text only")
    }

    /// Anything but nothing: null, an empty list and an empty object ask for nothing.
    private static func asksForSomething(_ value: JSON?) -> Bool {
        switch value {
        case nil: false
        case .array(let items): !items.isEmpty
        case .object(let object): !object.members.isEmpty
        default: true
        }
    }
}
