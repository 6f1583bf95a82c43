import Core
import Engine
import Glibc
import Logging
import Node
import Settings

/// One configured model and the engine that answers for it.
enum EngineEntry {
    /// Throws ``RuntimeError`` `.configuration` when the engine cannot be set up.
    static func make(
        _ model: Settings.Model, file: WatchedModelFile?, log: Logger
    ) throws -> Models.Entry {
        var log = log
        log[metadataKey: "model"] = "\(model.name)"
        return Models.Entry(
            name: model.name, aliases: model.aliases, kind: model.engine.rawValue, engine: try engine(model, log),
            file: { file?.file })
    }

    private static func engine(_ model: Settings.Model, _ log: Logger) throws -> any InferenceEngine {
        switch (model.engine, model.protocol) {
        case (.builtin, _):
            return JSONLinesEngine(
                name: model.name, command: try builtin(model), kind: model.engine.rawValue, log: log)
        case (.stdio, .jsonl):
            return JSONLinesEngine(
                name: model.name, command: model.command, kind: model.engine.rawValue, log: log)
        case (.stdio, .completion):
            guard let path = model.path else {
                throw RuntimeError(.configuration, "model \(model.name) has no path; name its GGUF file")
            }
            return CompletionEngine(
                name: model.name, command: model.command, modelPath: path, contextLength: model.context,
                template: model.template?.rawValue, threads: model.threads, slots: model.slots ?? 1, log: log)
        }
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
