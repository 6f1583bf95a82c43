import Core

/// Input items read into messages: a message, a call of the assistant's, what a tool gave back.
struct ResponseInput {
    private(set) var messages: [Message] = []

    /// Records of tools that ran elsewhere; a model reads nothing in them.
    private static let skipped: Set<String> = [
        "reasoning", "web_search_call", "file_search_call", "image_generation_call", "code_interpreter_call",
    ]

    /// A string, or a list of items. Throws ``RuntimeError`` `.invalidRequest`.
    init(_ fields: RequestFields, field: String = "input") throws(RuntimeError) {
        guard let value = fields.json[field] else {
            throw fields.refusal(field, "is required: a string or a list of items")
        }
        if let text = value.string {
            guard !text.isEmpty else { throw fields.refusal(field, "must not be empty") }
            messages = [Message(.user, text)]
            return
        }
        guard value.array != nil else { throw fields.refusal(field, "must be a string or a list of items") }
        for item in try fields.objects(field) { try add(item) }
    }

    /// What can be answered ends with somebody's word to the model.
    func checkAnswerable(_ fields: RequestFields) throws(RuntimeError) {
        guard let last = messages.last(where: { $0.role != .system }) else {
            throw fields.refusal("input", "must hold at least one message of a user, or what a tool gave back")
        }
        guard last.role != .assistant else {
            throw fields.refusal("input", "must not end with the assistant's: there is nothing to answer")
        }
    }

    private mutating func add(_ item: RequestFields) throws(RuntimeError) {
        switch try item.text("type") {
        case nil, "message":
            let role: Message.Role
            switch try item.text("role") {
            case "user": role = .user
            case "assistant": role = .assistant
            case "system", "developer": role = .system
            default: throw item.refusal("role", "must be one of user, assistant, system, developer")
            }
            messages.append(Message(role, try Self.text(item, "content")))
        case "function_call":
            let call = ToolCall(
                id: try item.callID("call_id"), name: try item.functionName(), arguments: try item.required("arguments")
            )
            // One turn of the assistant's: what it said and what it called.
            if messages.last?.role == .assistant {
                messages[messages.count - 1].toolCalls.append(call)
            } else {
                messages.append(Message(.assistant, "", toolCalls: [call]))
            }
        case "function_call_output":
            messages.append(
                Message(.tool, try Self.text(item, "output"), toolCallID: try item.callID("call_id")))
        case "item_reference", "compaction":
            throw item.refusal("type", "cannot be that here; send the item itself")
        case let type? where Self.skipped.contains(type): break
        default: throw item.refusal("type", "must be message, function_call or function_call_output")
        }
    }

    /// A string, or parts whose texts stand on lines of their own.
    private static func text(_ item: RequestFields, _ name: String) throws(RuntimeError) -> String {
        guard let value = item.json[name] else { throw item.refusal(name, "is required") }
        if let text = value.string { return text }
        guard value.array != nil else { throw item.refusal(name, "must be a string or a list of parts") }
        var texts: [String] = []
        for part in try item.objects(name) {
            switch try part.text("type") {
            case "input_text", "output_text", "text": texts.append(try part.required("text"))
            case "refusal": texts.append(try part.required("refusal"))
            default:
                throw part.refusal(
                    "type", "must be input_text or output_text: this version's engines read no images, audio or files")
            }
        }
        return texts.joined(separator: "\n")
    }
}
