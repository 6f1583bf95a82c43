import Core

/// A probed llama-server with its model: what every start of it needs to know.
struct ServerProgram: Sendable {
    var command: ChildCommand
    var arguments: ServerArguments
    var facts: ModelFacts
    var build: String
    /// Nil where the file's template is of no family that we know: the server has its own reader of them.
    var template: ChatTemplate?
    private var controlWords: ControlWords

    /// What a model is given where nothing is configured: what its file allows may be far more than this machine has
    /// memory for.
    static let usualContext = 8_192

    /// Reads the model file's header and asks the program for its version and flags.
    ///
    /// - Throws: ``RuntimeError`` that says what to do: `.configuration`, `.corrupt`, `.system`, `.unavailable`.
    init(_ options: LlamaServerEngine.Options, deadline: Duration) async throws {
        command = try ChildCommand(options.command, environment: options.environment)
        facts = try ModelFacts(path: options.modelPath)
        let probe = try await ProgramProbe(
            command, required: ServerArguments.required, of: "llama.cpp's llama-server (build 4980 or later)",
            deadline: deadline)
        build = probe.build
        template = try? ChatTemplate.recognised(in: facts.templateText)  // nil is fine
        controlWords = ControlWords((template?.controlWords ?? []) + facts.controlTokens)
        let context = options.contextLength ?? min(facts.contextLength ?? Self.usualContext, Self.usualContext)
        arguments = ServerArguments(
            modelPath: options.modelPath, contextLength: context, slots: max(1, options.slots),
            threads: options.threads ?? Processors.threads(forWeightBytes: facts.weightBytes),
            pooling: options.embeds ? (facts.hasPooling ? "" : "mean") : nil, flags: probe.flags,
            given: Set(command.arguments.filter { $0.hasPrefix("-") }))
    }

    /// A text in which no control word of the model is left (llama-server reads all of them, engines.md §5.4).
    func neutralised(_ text: String) -> String { controlWords.neutralised(text) }
}
