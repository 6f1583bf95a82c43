/// One message of a conversation, in the form that every dialect and every engine shares.
package struct Message: Hashable, Sendable {
    package enum Role: String, Sendable, CaseIterable {
        /// Instructions; `developer` of the OpenAI dialect is the same.
        case system
        case user
        case assistant
    }

    package var role: Role
    package var text: String

    package init(_ role: Role, _ text: String) {
        self.role = role
        self.text = text
    }
}

/// Why an answer ended.
package enum FinishReason: String, Sendable, CaseIterable {
    /// The model ended its turn, or wrote a stop string.
    case stop
    /// The token limit or the context's end was reached.
    case length
    /// The client went away, or the daemon stopped; what had been written by then is kept.
    case aborted
    /// The engine failed in mid-answer; what had been written by then is kept.
    case failed
}

/// Tokens counted for one answer.
package struct TokenUsage: Hashable, Sendable {
    package var promptTokens: Int
    package var completionTokens: Int
    /// The part of the prompt that the engine still held from earlier work.
    package var cachedTokens: Int
    /// False where the engine does not tell and the counts are our estimate.
    package var isExact: Bool

    package init(promptTokens: Int, completionTokens: Int, cachedTokens: Int = 0, isExact: Bool = true) {
        self.promptTokens = promptTokens
        self.completionTokens = completionTokens
        self.cachedTokens = cachedTokens
        self.isExact = isExact
    }

    /// Never overflows: the counts may come from another program, or from another host's disk.
    package var totalTokens: Int {
        let (sum, overflows) = promptTokens.addingReportingOverflow(completionTokens)
        return overflows ? Int.max : sum
    }
}
