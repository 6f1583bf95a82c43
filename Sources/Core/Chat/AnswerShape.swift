/// What form an answer must have: beyond plain text an engine must be able to constrain what the model writes.
package struct AnswerShape: Hashable, Sendable {
    package enum Format: Hashable, Sendable {
        case text
        /// Any JSON object.
        case jsonObject
        /// JSON that follows the schema.
        case jsonSchema(name: String, schema: JSON)
    }

    package var format: Format
    package var tools: [Tool]
    package var toolChoice: ToolChoice
    /// Nil leaves it to the engine.
    package var parallelToolCalls: Bool?
    /// Log-probabilities of the tokens written, with as many alternatives of each; nil for none.
    package var logprobs: Int?

    package init(
        format: Format = .text, tools: [Tool] = [], toolChoice: ToolChoice = .auto, parallelToolCalls: Bool? = nil,
        logprobs: Int? = nil
    ) {
        self.format = format
        self.tools = tools
        self.toolChoice = toolChoice
        self.parallelToolCalls = parallelToolCalls
        self.logprobs = logprobs
    }

    /// Tools that the model may call at all.
    package var offersTools: Bool { !tools.isEmpty && toolChoice != .none }

    /// Bytes that the tools add to a prompt.
    package var promptBytes: Int {
        guard offersTools else { return 0 }
        return tools.reduce(0) {
            $0 + $1.name.utf8.count + ($1.description?.utf8.count ?? 0) + ($1.parameters?.encoded.count ?? 0)
        }
    }
}

/// How likely a token was, and what else might have stood there.
package struct TokenProbability: Hashable, Sendable {
    package struct Alternative: Hashable, Sendable {
        package var token: String
        /// The token's bytes: it may be a part of a character.
        package var bytes: [UInt8]
        /// Natural logarithm.
        package var logprob: Double

        package init(token: String, bytes: [UInt8], logprob: Double) {
            self.token = token
            self.bytes = bytes
            self.logprob = logprob
        }
    }

    package var chosen: Alternative
    package var alternatives: [Alternative]

    package init(chosen: Alternative, alternatives: [Alternative]) {
        self.chosen = chosen
        self.alternatives = alternatives
    }
}
