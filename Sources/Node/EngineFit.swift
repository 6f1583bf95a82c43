internal import Core

/// What an engine can do, held against what a request asks for.
struct EngineFit {
    private let engine: EngineDescription

    init(_ engine: EngineDescription) { self.engine = engine }

    /// Throws ``RuntimeError`` `.invalidRequest` with the name of the first field that the engine would ignore.
    func check(_ request: ChatRequest) throws(RuntimeError) {
        let sampling = request.sampling
        let set: [(name: String, isSet: Bool)] = [
            ("temperature", sampling.temperature != nil), ("top_p", (sampling.topP ?? 1) != 1),
            ("top_k", (sampling.topK ?? 0) != 0), ("min_p", (sampling.minP ?? 0) != 0), ("seed", sampling.seed != nil),
            ("presence_penalty", (sampling.presencePenalty ?? 0) != 0),
            ("frequency_penalty", (sampling.frequencyPenalty ?? 0) != 0),
        ]
        for field in set where field.isSet && !engine.samplingFields.contains(field.name) {
            throw refusal(field.name)
        }
        let shape = request.shape
        let needed: [(name: String, capability: EngineCapability, isNeeded: Bool)] = [
            ("tools", .tools, shape.offersTools), ("response_format", .jsonObject, shape.format == .jsonObject),
            ("response_format", .jsonSchema, shape.hasSchema), ("logprobs", .logprobs, shape.logprobs != nil),
            ("logit_bias", .logitBias, !sampling.logitBias.isEmpty), ("prompt", .rawPrompt, request.rawPrompt != nil),
        ]
        for need in needed where need.isNeeded && !engine.capabilities.contains(need.capability) {
            throw refusal(need.name)
        }
    }

    private func refusal(_ field: String) -> RuntimeError {
        RuntimeError(
            .invalidRequest,
            "this model's engine (\(engine.kind)) does not support \(field); leave it out, or use a model whose engine does",
            parameter: field)
    }

    /// For an engine that knows no tools, calls and results from earlier in a conversation become plain words: another
    /// engine may have had them, on another host.
    func readable(_ messages: [Message]) -> [Message] {
        guard !engine.capabilities.contains(.tools) else { return messages }
        return messages.map { message in
            guard message.role == .tool || !message.toolCalls.isEmpty else { return message }
            let calls = message.toolCalls.map { "[called \($0.name) with \($0.arguments)]" }
            let words = ([message.text] + calls).filter { !$0.isEmpty }.joined(separator: "\n")
            return message.role == .tool
                ? Message(.user, "[the tool gave back] \(words)") : Message(message.role, words)
        }
    }
}

extension AnswerShape {
    fileprivate var hasSchema: Bool {
        if case .jsonSchema = format { true } else { false }
    }
}
