/// One message of a conversation, in the form that every dialect and every engine shares.
package struct Message: Hashable, Sendable {
    package enum Role: String, Sendable, CaseIterable {
        /// Instructions; `developer` of the OpenAI dialect is the same.
        case system
        case user
        case assistant
        /// What a tool gave back for a call of the assistant's.
        case tool
    }

    package var role: Role
    package var text: String
    /// What a reasoning model thought before its text; never part of a later prompt.
    package var reasoning: String?
    /// The tools that the assistant wants called, in order.
    package var toolCalls: [ToolCall]
    /// Of a tool's message: which call it answers.
    package var toolCallID: String?

    package init(
        _ role: Role, _ text: String, reasoning: String? = nil, toolCalls: [ToolCall] = [], toolCallID: String? = nil
    ) {
        self.role = role
        self.text = text
        self.reasoning = reasoning
        self.toolCalls = toolCalls
        self.toolCallID = toolCallID
    }

    /// Says nothing and calls nothing.
    package var isEmpty: Bool { text.isEmpty && toolCalls.isEmpty }

    /// Bytes of what a model reads of it.
    package var promptBytes: Int {
        toolCalls.reduce(text.utf8.count) { $0 + $1.name.utf8.count + $1.arguments.utf8.count + $1.id.utf8.count }
            + (toolCallID?.utf8.count ?? 0)
    }
}

/// Why an answer ended.
package enum FinishReason: String, Sendable, CaseIterable {
    /// The model ended its turn, or wrote a stop string.
    case stop
    /// The token limit or the context's end was reached.
    case length
    /// The model wants tools called and waits for what they give back.
    case toolCalls = "tool_calls"
    /// The client went away, or the daemon stopped; what had been written by then is kept.
    case aborted
    /// The engine failed in mid-answer; what had been written by then is kept.
    case failed

    /// Whether the model came to its own end.
    package var isComplete: Bool {
        switch self {
        case .stop, .length, .toolCalls: true
        case .aborted, .failed: false
        }
    }
}
