import Core

/// A probed program with its model: all that a run needs to know.
struct CompletionProgram: Sendable {
    var command: ChildCommand
    var arguments: CompletionArguments
    var facts: ModelFacts
    var template: ChatTemplate
    var description: EngineDescription
    private var controlWords: ControlWords

    /// Reads the model file's header and asks the program for its version and flags.
    ///
    /// - Throws: ``RuntimeError`` that says what to do: `.configuration`, `.corrupt`, `.system`, `.unavailable`.
    init(
        command: ChildCommand, modelPath: String, contextLength: Int?, template: String?, threads: Int?,
        deadline: Duration
    ) async throws {
        self.command = command
        facts = try ModelFacts(path: modelPath)
        self.template = try template.map(ChatTemplate.named) ?? ChatTemplate.recognised(in: facts.templateText)
        controlWords = ControlWords(self.template.controlWords + facts.controlTokens)
        let probe = try await ProgramProbe(command, required: CompletionArguments.required, deadline: deadline)
        guard let context = contextLength ?? facts.contextLength, context > 0 else {
            throw RuntimeError(
                .configuration, "the model file does not tell its context length; set the model's \"context\"",
                parameter: "context")
        }
        arguments = CompletionArguments(
            modelPath: modelPath, contextLength: context,
            threads: threads ?? Processors.threads(forWeightBytes: facts.weightBytes),
            defaults: facts.isByteLevel ? .greedy : .chat, flags: probe.flags)
        description = EngineDescription(
            kind: "stdio", fingerprint: "\(command.name) \(probe.build) \(facts.fileName)", contextLength: context,
            tokenCost: facts.tokenCost(of: self.template), samplingFields: arguments.samplingFields)
    }

    func prompt(of request: GenerationRequest) -> String {
        template.render(request.messages, controlWords: controlWords)
    }

    /// Where the prompt can be counted, the answer is limited to what the context leaves: the program then ends it
    /// with its marker, and not by itself.
    func bounded(_ request: GenerationRequest) -> GenerationRequest {
        guard description.tokenCost.isExact else { return request }
        var request = request
        let left = description.contextLength - description.tokenCost.tokens(of: request.messages) - 1
        request.maximumTokens = min(request.maximumTokens, max(1, left))
        return request
    }
}
