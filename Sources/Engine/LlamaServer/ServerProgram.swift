import Core

/// A probed llama-server with its model: what every start of it needs to know.
struct ServerProgram: Sendable {
    var command: ChildCommand
    var arguments: ServerArguments
    var facts: ModelFacts
    var build: String
    /// The hosts that compute a part of the model.
    var workerHosts: [String] = []
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

    /// Throws ``RuntimeError`` where it cannot use workers on other hosts.
    func requireWorkers() throws(RuntimeError) {
        guard arguments.flags.contains(ServerArguments.workerFlag) else {
            throw RuntimeError(
                .configuration,
                "\(command.name) knows no \(ServerArguments.workerFlag): it was built without RPC and cannot use workers on "
                    + "other hosts")
        }
        guard arguments.given.isDisjoint(with: [ServerArguments.workerFlag]) else {
            throw RuntimeError(
                .configuration,
                "the model's command names workers with \(ServerArguments.workerFlag) itself; leave that to \"workers\""
            )
        }
        guard build != ProgramProbe.unknownBuild else {
            throw RuntimeError(
                .configuration,
                "\(command.name) does not tell its build, which must be the same as that of its workers")
        }
    }
}
