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
        let probe = try await ProgramProbe(
            command, required: CompletionArguments.required, of: "llama.cpp's llama-completion (build 7348 or later)",
            deadline: deadline)
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
            tokenCost: facts.tokenCost(of: self.template), samplingFields: arguments.samplingFields,
            capabilities: [.partial])
    }

    func prompt(of request: GenerationRequest) -> String {
        template.render(request.messages, controlWords: controlWords)
    }

    /// How the answer begins, as the program reads it behind the prompt.
    func beginning(of request: GenerationRequest) -> String {
        let text = controlWords.neutralised(request.partial ?? "")
        // The tokenizer's own, which no answer shows.
        return template.beginsWithSpace && !text.isEmpty ? " " + text : text
    }

    /// What the beginning of an answer counts: estimated where not each byte is a token.
    func tokens(ofBeginning text: String) -> Int {
        facts.isByteLevel ? facts.tokens(in: text) : description.tokenCost.tokens(ofBytes: text.utf8.count)
    }

    /// The tokens of a rendered prompt, where they can be counted without the program.
    func tokens(ofPrompt prompt: String) -> Int? {
        facts.isByteLevel ? facts.tokens(in: prompt) + (facts.addsBeginning ? 1 : 0) : nil
    }

    /// The longest prompt that the program takes: it keeps four tokens of its context.
    var promptLimit: Int { description.contextLength - 4 }

    /// Where the prompt can be counted, the answer is limited to what the context leaves: the program then ends it
    /// with its marker, and not by itself.
    func bounded(_ request: GenerationRequest, promptTokens: Int?, written: Int) -> GenerationRequest {
        var request = request
        request.maximumTokens = max(1, request.maximumTokens - written)
        guard let promptTokens else { return request }
        request.maximumTokens = min(request.maximumTokens, max(1, description.contextLength - promptTokens - 1))
        return request
    }
}
