import Core

/// Names and aliases that are taken.
struct ModelNames {
    private var owners: [String: String] = [:]

    /// False where another model has the name.
    mutating func take(_ name: String, for model: String) -> Bool {
        guard owners[name] == nil else { return false }
        owners[name] = model
        return true
    }

    func owner(of name: String) -> String { owners[name] ?? "" }
}

extension Settings.Model {
    /// Nil where the name or the engine is missing or wrong; the reader then holds the problem.
    init?(reading reader: inout SettingsReader, names: inout ModelNames) {
        let name = reader.required("name", .modelName, "The name that requests use.")
        let engine: Engine? = reader.required(
            "engine", .choice(later: ["auto", "llama-server", "remote"]),
            "`builtin` is the demonstration model inside the daemon; `stdio` is a program that reads and writes.")
        `protocol` = reader.value(
            "protocol", .choice(), default: .completion,
            "What a `stdio` program speaks: `completion` as llama-completion, `jsonl` as docs/engine-protocol.md.")
        aliases = reader.value(
            "aliases", .list(of: .modelName, count: 0...100), default: [], "Further names for the model.")
        let isProgram = engine == .stdio
        let isCompletion = isProgram && `protocol` == .completion
        path = reader.optional(
            "path", .path, neededFor: isCompletion ? Self.words(.stdio, `protocol`) : nil,
            "Model file (GGUF); `builtin` has its own and runs others of its kind.")
        command =
            reader.optional(
                "command", .command, neededFor: isProgram ? Self.words(.stdio, `protocol`) : nil,
                "A `stdio` engine's program and its arguments; no shell is involved.") ?? []
        context = reader.optional(
            "context", .integer(256...10_000_000),
            "Tokens of prompt and answer together of a `completion` model; without it as many as the file says.")
        template = reader.optional(
            "template", .choice(), "Chat template of a `completion` model; without it the model file's own.")
        threads = reader.optional(
            "threads", .integer(1...1_024), "Threads of a `completion` program; without it by the size of the model.")
        pace = reader.optional(
            "pace", .number(0.1...100_000), "Tokens a second that `builtin` writes at most, for demonstrations.")
        slots = reader.optional(
            "slots", .integer(1...64),
            "Answers at the same time, of `builtin` or of a `completion` program; without it the engine decides.")

        if let name, !names.take(name, for: name) {
            reader.refuse("\(quoted(name)) already names the model \(quoted(names.owner(of: name)))", at: "name")
        }
        for alias in aliases where !names.take(alias, for: name ?? alias) {
            reader.refuse("\(quoted(alias)) already names the model \(quoted(names.owner(of: alias)))", at: "aliases")
        }
        guard let name, let engine else { return nil }
        self.name = name
        self.engine = engine
        refuseForeignKeys(&reader)
    }

    /// What has no meaning for the engine is refused, not ignored.
    private func refuseForeignKeys(_ reader: inout SettingsReader) {
        let foreign =
            switch (engine, `protocol`) {
            case (.builtin, _): ["protocol", "command", "context", "template", "threads"]
            case (.stdio, .completion): ["pace"]
            case (.stdio, .jsonl): ["path", "context", "template", "threads", "pace", "slots"]
            }
        for key in foreign where reader.isGiven(key) {
            reader.refuse("\(reader.full(key)) has no meaning for \(Self.words(engine, `protocol`))", at: key)
        }
    }

    private static func words(_ engine: Engine, _ protocol: StdioProtocol) -> String {
        engine == .builtin ? "engine \"builtin\"" : "protocol \"\(`protocol`.rawValue)\""
    }
}
