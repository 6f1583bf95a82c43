import Core

extension OllamaRequest {
    /// Empty where there are none: the client only wants the model loaded.
    static func messages(_ fields: RequestFields) throws(RuntimeError) -> [Message] {
        let list = try fields.objects("messages")
        var messages: [Message] = []
        // Ollama's clients know calls by their place only.
        var waiting: [ToolCall] = []
        for (index, item) in list.enumerated() {
            if item.json["images"].asksForSomething { throw unsupported("images", item) }
            let content = try item.text("content") ?? ""
            switch try item.text("role") {
            case "system": messages.append(Message(.system, content))
            case "user": messages.append(Message(.user, content))
            case "assistant":
                let calls = try self.calls(item, index)
                waiting += calls
                messages.append(
                    Message(.assistant, content, reasoning: try item.text("thinking"), toolCalls: calls))
            case "tool":
                let id = try answeredCall(item, &waiting)
                messages.append(Message(.tool, content, toolCallID: id))
            default: throw item.refusal("role", "must be one of system, user, assistant, tool")
            }
        }
        guard let last = messages.last else { return [] }
        guard last.role != .assistant else {
            throw fields.refusal(
                "messages", "must not end with an assistant message: no engine of this version goes on with one")
        }
        guard last.role != .system else {
            throw fields.refusal("messages", "must end with what is asked: a message of role user or tool")
        }
        guard last.role == .tool || !last.text.isEmpty else {
            throw fields.refusal("messages[\(list.count - 1)].content", "must not be empty: it is what is asked")
        }
        return messages
    }

    private static func calls(_ message: RequestFields, _ place: Int) throws(RuntimeError) -> [ToolCall] {
        var calls: [ToolCall] = []
        for (index, call) in try message.objects("tool_calls").enumerated() {
            guard let function = try call.nested("function") else {
                throw call.refusal("function", "is required: an object with a name")
            }
            let arguments: String
            switch function.json["arguments"] {
            case nil: arguments = "{}"
            case .object(let object)?: arguments = JSON.object(object).text
            default: throw function.refusal("arguments", "must be an object")
            }
            // The same each time that the history is sent, so that it is recognised.
            let id = call.json["id"] == nil ? "call_\(place)_\(index)" : try call.callID("id")
            calls.append(ToolCall(id: id, name: try function.functionName(), arguments: arguments))
        }
        return calls
    }

    /// The call that a tool's message answers: by its id, by the tool's name, else the first that waits.
    private static func answeredCall(
        _ message: RequestFields, _ waiting: inout [ToolCall]
    ) throws(RuntimeError) -> String {
        if message.json["tool_call_id"] != nil {
            let id = try message.callID("tool_call_id")
            waiting.removeAll { $0.id == id }
            return id
        }
        var name = try message.text("tool_name")
        if name == nil { name = try message.text("name") }
        guard let index = waiting.firstIndex(where: { name == nil || $0.name == name }) else {
            throw message.refusal("tool_name", "answers no call of the assistant's")
        }
        return waiting.remove(at: index).id
    }
}
