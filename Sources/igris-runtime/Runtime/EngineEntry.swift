import Core
import Engine
import Glibc
import Logging
import NIOPosix
import Node
import Settings

/// One configured model and the engine that answers for it.
enum EngineEntry {
    /// What holds weights is loaded on demand, everything else runs all the time: the built-in model is small, an
    /// upstream holds nothing here, and llama-completion is started for each answer. Throws ``RuntimeError``
    /// `.configuration` when the engine cannot be set up.
    ///
    /// - Parameters:
    ///   - socketPlaces: Folders for the sockets of children, the best first.
    ///   - exchange: Where workers of other hosts come from.
    static func make(
        _ model: Settings.Model, socketPlaces: [String], exchange: WorkerExchange, log: Logger
    ) throws -> Models.Making {
        var log = log
        log[metadataKey: "model"] = "\(model.name)"
        let holdsWeights: Bool
        switch (model.engine, model.protocol) {
        case (.llamaServer, _): holdsWeights = true
        case (.auto, _):
            if case .server = LlamaProgram.best(of: model.command) { holdsWeights = true } else { holdsWeights = false }
        case (.stdio, .jsonl): holdsWeights = model.keepAlive != .forever || model.load == .demand
        case (.stdio, .completion), (.remote, _), (.builtin, _): holdsWeights = false
        }
        guard holdsWeights else { return .always(try engines(model, socketPlaces, exchange, log)) }
        return .onDemand(
            LoadedModels.Recipe(
                name: model.name, keepAlive: model.keepAlive, loadsAtStart: model.load == .start,
                make: { [log] in try engines(model, socketPlaces, exchange, log) },
                estimate: {
                    guard let path = model.path else { return 0 }
                    // The pool ends with the process only.
                    let bytes = try? await NIOThreadPool.singleton.runIfActive {
                        ModelMemory.estimate(path: path, context: model.context, slots: model.slots)
                    }
                    return bytes ?? 0
                }))
    }

    /// One, or as many as the model's requests ask for.
    private static func engines(
        _ model: Settings.Model, _ socketPlaces: [String], _ exchange: WorkerExchange, _ log: Logger
    ) throws -> any InferenceEngine {
        let instances = model.instances
        guard instances.max > 1 else { return try engine(model, socketPlaces, exchange, log) }
        return EngineInstances(
            name: model.name, least: instances.min, most: instances.max, wait: instances.wait, idle: instances.idle,
            log: log
        ) { try engine(model, socketPlaces, exchange, log) }
    }

    private static func engine(
        _ model: Settings.Model, _ socketPlaces: [String], _ exchange: WorkerExchange, _ log: Logger
    ) throws -> any InferenceEngine {
        switch (model.engine, model.protocol) {
        case (.auto, _):
            switch LlamaProgram.best(of: model.command) {
            case .server(let command): return try server(model, command, socketPlaces, exchange, log)
            case .completion(let command):
                guard model.workers == nil else {
                    throw RuntimeError(
                        .configuration,
                        "model \(model.name) wants workers on other hosts, which only llama-server can use; install it or "
                            + "name it in the model's command")
                }
                return try completion(model, command, log)
            }
        case (.llamaServer, _):
            let command = model.command.isEmpty ? LlamaProgram.server : model.command
            return try server(model, command, socketPlaces, exchange, log)
        case (.remote, _): return try remote(model, log)
        case (.builtin, _):
            return JSONLinesEngine(
                name: model.name, command: try builtin(model), kind: model.engine.rawValue, log: log)
        case (.stdio, .jsonl):
            return JSONLinesEngine(
                name: model.name, command: model.command, kind: model.engine.rawValue, log: log)
        case (.stdio, .completion):
            return try completion(model, model.command, log)
        }
    }

    private static func server(
        _ model: Settings.Model, _ command: [String], _ socketPlaces: [String], _ exchange: WorkerExchange,
        _ log: Logger
    ) throws -> LlamaServerEngine {
        var options = LlamaServerEngine.Options(name: model.name, command: command, modelPath: try path(of: model))
        options.contextLength = model.context
        options.threads = model.threads
        options.slots = model.slots ?? options.slots
        options.embeds = model.embeddings
        options.socketPlaces = socketPlaces
        options.workers = model.workers.map(exchange.source)
        return LlamaServerEngine(options, log: log)
    }

    private static func completion(
        _ model: Settings.Model, _ command: [String], _ log: Logger
    ) throws -> CompletionEngine {
        CompletionEngine(
            name: model.name, command: command, modelPath: try path(of: model), contextLength: model.context,
            template: model.template?.rawValue, threads: model.threads, slots: model.slots ?? 1, log: log)
    }

    private static func remote(_ model: Settings.Model, _ log: Logger) throws -> RemoteEngine {
        guard let url = model.url else {
            throw RuntimeError(.configuration, "model \(model.name) has no url; name its server")
        }
        var options = RemoteEngine.Options(name: model.name, url: url, model: model.remoteModel ?? model.name)
        options.key = model.apiKey
        options.authority = model.caFile
        options.contextLength = model.context
        options.slots = model.slots ?? options.slots
        options.capabilities = model.capabilities.map { Set($0) } ?? options.capabilities
        return RemoteEngine(options, log: log)
    }

    private static func path(of model: Settings.Model) throws -> String {
        guard let path = model.path else {
            throw RuntimeError(.configuration, "model \(model.name) has no path; name its GGUF file")
        }
        return path
    }

    /// This program itself, as a child.
    private static func builtin(_ model: Settings.Model) throws -> [String] {
        var path = [CChar](repeating: 0, count: Int(PATH_MAX))
        let length = readlink("/proc/self/exe", &path, path.count)
        guard length > 0 else {
            throw RuntimeError(.system, "this program's own file could not be found; is /proc mounted?")
        }
        let program = String(decoding: path.prefix(length).map(UInt8.init(bitPattern:)), as: UTF8.self)
        var command = [program, "engine"]
        if let path = model.path { command += ["--model", path] }
        if let pace = model.pace { command += ["--pace", "\(pace)"] }
        if let slots = model.slots { command += ["--slots", "\(slots)"] }
        return command
    }
}
