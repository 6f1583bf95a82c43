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
            "engine", .choice(),
            "`builtin` is the demonstration model inside the daemon; `llama-server` is llama.cpp's server as a child; "
                + "`stdio` is a program that reads and writes; `auto` is llama-server where it is installed, else "
                + "llama-completion; `remote` is another server of the OpenAI API.")
        `protocol` = reader.value(
            "protocol", .choice(), default: .completion,
            "What a `stdio` program speaks: `completion` as llama-completion, `jsonl` as docs/engine-protocol.md.")
        aliases = reader.value(
            "aliases", .list(of: .modelName, count: 0...100), default: [], "Further names for the model.")
        let spoken = `protocol`
        let words = engine.map { Self.words($0, spoken) }
        let isFile = engine == .auto || engine == .llamaServer || (engine == .stdio && `protocol` == .completion)
        path = reader.optional(
            "path", .path, neededFor: isFile ? words : nil,
            "Model file (GGUF); `builtin` has its own and runs others of its kind.")
        command =
            reader.optional(
                "command", .command, neededFor: engine == .stdio ? words : nil,
                "The engine's program and its arguments; no shell is involved. Without it `llama-server` and `auto` look "
                    + "for theirs in PATH.") ?? []
        context = reader.optional(
            "context", .integer(256...10_000_000),
            "Tokens of prompt and answer together; without it as many as the file says, for a llama-server at most "
                + "8,192, and for `remote` as many as the upstream takes.")
        template = reader.optional(
            "template", .choice(), "Chat template of a `completion` model; without it the model file's own.")
        threads = reader.optional(
            "threads", .integer(1...1_024), "Threads to compute with; without it by the size of the model.")
        pace = reader.optional(
            "pace", .number(0.1...100_000), "Tokens a second that `builtin` writes at most, for demonstrations.")
        slots = reader.optional(
            "slots", .integer(1...(engine == .remote ? 4_096 : 64)),
            "Answers at the same time; more wait. Without it 2 for a llama-server, each with a context of its own, 1 for "
                + "llama-completion, 256 for `remote`, which takes up to 4096.")
        embeddings = reader.value(
            "embeddings", .toggle, default: false, "Let a llama-server also make embeddings of texts.")
        url = reader.optional(
            "url", .upstreamURL, neededFor: engine == .remote ? words : nil,
            "Where a `remote` server's API begins, `http://10.0.0.9:8000/v1`.")
        apiKey = reader.optional("api_key", .upstreamKey, "What a `remote` server wants as its key: `${OFFICE_KEY}`.")
        caFile = reader.optional(
            "ca_file", .path,
            "Certificates (PEM) that are trusted beside the machine's own when a `remote` server's url is https.")
        remoteModel = reader.optional(
            "remote_model", .modelName, "The model's name at a `remote` server; without it the same as here.")
        capabilities = reader.optional(
            "capabilities", .list(of: .choice(), count: 0...20),
            "What a `remote` server can do beyond text; a request for anything else is refused by name. Without it "
                + "tools, json_object, json_schema, logprobs and logit_bias.")
        workers = reader.optional(
            "workers", .workers,
            "Experimental: hosts that lend their `rpc_worker` to a llama-server for a model too large for one host, by "
                + "`node.name`; or a number, of any that lend theirs.")
        fallback = reader.optional(
            "fallback", .modelName, "The model that answers while this one cannot; the reply says so.")

        instances = reader.section(
            "instances", "How many engines of the model run on this host, by how long requests wait."
        ) { Instances(reading: &$0) }
        keepAlive =
            reader.optional(
                "keep_alive", .keepAlive,
                "How long the model stays loaded when nobody asks for it; 0 unloads it after each answer, forever keeps it. "
                    + "Without it 10m for llama-server and auto, forever for protocol \"jsonl\".")
            ?? engine.map { Self.usualKeepAlive($0) } ?? .forever
        load =
            reader.optional(
                "load", .choice(),
                "When it is loaded first: at the daemon's `start`, or on `demand`, by the first request. Without it on "
                    + "demand, or at the start where keep_alive is forever.")
            ?? (keepAlive == .forever ? .start : .demand)

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
        // A process for each answer, or none here at all.
        if engine == .remote || (engine == .stdio && `protocol` == .completion), instances.max > 1 {
            reader.refuse(
                "\(reader.full("instances")) has no meaning for \(Self.words(engine, `protocol`))", at: "instances")
        }
        let loading = ["keep_alive", "load"]
        let remote = ["url", "api_key", "ca_file", "remote_model", "capabilities"]
        let foreign =
            switch (engine, `protocol`) {
            case (.auto, _): ["protocol", "pace"] + remote
            case (.builtin, _):
                ["protocol", "command", "context", "template", "threads", "embeddings", "workers"] + remote + loading
            case (.llamaServer, _): ["protocol", "template", "pace"] + remote
            case (.remote, _):
                ["protocol", "path", "command", "template", "threads", "pace", "embeddings", "workers"] + loading
            case (.stdio, .completion): ["pace", "embeddings", "workers"] + remote + loading
            case (.stdio, .jsonl):
                ["path", "context", "template", "threads", "pace", "slots", "embeddings", "workers"] + remote
            }
        for key in foreign where reader.isGiven(key) {
            reader.refuse("\(reader.full(key)) has no meaning for \(Self.words(engine, `protocol`))", at: key)
        }
    }

    private static func words(_ engine: Engine, _ protocol: StdioProtocol) -> String {
        engine == .stdio ? "protocol \"\(`protocol`.rawValue)\"" : "engine \"\(engine.rawValue)\""
    }
}

extension Settings.Model.Instances {
    init(reading reader: inout SettingsReader) {
        min = reader.value("min", .integer(1...16), default: 1, "Engines that run while the model is loaded.")
        max = reader.value("max", .integer(1...16), default: 1, "Engines at most.")
        wait = reader.value(
            "wait", .duration(.seconds(1)...(.seconds(3_600))), default: .seconds(1),
            "How long a request waits before another engine is started.")
        idle = reader.value(
            "idle", .duration(.seconds(1)...(.seconds(86_400))), default: .seconds(60),
            "How long one engine less would have sufficed before one is stopped.")
        guard max < min else { return }
        // The larger bound is what was asked for.
        if reader.isGiven("max") {
            reader.refuse("\(reader.full("max")) must not be less than \(reader.full("min"))", at: "max")
        }
        max = min
    }
}
