import Core
import Node

/// This host's models as Ollama describes its own.
struct OllamaModels {
    let models: [ModelStatus]
    /// RFC 3339: when this host began to serve them.
    let modified: String

    /// `GET /api/tags`: every model, and every alias, under which it can be asked, too.
    var tags: JSON {
        ["models": .array(models.flatMap { model in names(of: model).map { .object(entry(model, as: $0)) } })]
    }

    /// `GET /api/ps`: those that are in memory.
    var running: JSON {
        let entries = models.filter { $0.state == .ready }.map { model in
            var object = entry(model, as: model.name)
            object["modified_at"] = nil
            object["expires_at"] = .string(model.leaves ?? "9999-12-31T23:59:59Z")
            if let memory = model.memory { object["size"] = .integer(Int64(memory)) }
            object["size_vram"] = 0
            if let length = model.description?.contextLength { object["context_length"] = .integer(Int64(length)) }
            return JSON.object(object)
        }
        return ["models": .array(entries)]
    }

    /// `POST /api/show`. Throws ``RuntimeError`` `.modelNotFound`.
    func show(_ name: String) throws(RuntimeError) -> JSON {
        guard let model = models.first(where: { names(of: $0).contains(name) }) else {
            throw RuntimeError(
                .modelNotFound, "model '\(name.prefix(100))' not found; this host has: \(list)", parameter: "model")
        }
        var object = JSON.Object()
        object["modelfile"] = ""
        object["parameters"] = ""
        object["template"] = ""
        object["modified_at"] = .string(modified)
        object["details"] = details(of: model)
        object["model_info"] = information(on: model)
        object["capabilities"] = .array(capabilities(of: model).map { .string($0) })
        return .object(object)
    }

    /// The name under which a model is known here: Ollama's clients add `:latest` where no other tag is given.
    func resolved(_ name: String) -> String {
        let tag = ":latest"
        guard name.hasSuffix(tag), !models.contains(where: { names(of: $0).contains(name) }) else { return name }
        return String(name.dropLast(tag.count))
    }

    private var list: String { models.flatMap { names(of: $0) }.joined(separator: ", ") }

    private func names(of model: ModelStatus) -> [String] { [model.name] + model.aliases }

    private func entry(_ model: ModelStatus, as name: String) -> JSON.Object {
        var object = JSON.Object()
        object["name"] = .string(name)
        object["model"] = .string(name)
        object["modified_at"] = .string(modified)
        object["size"] = .integer(Int64(model.file?.bytes ?? 0))
        object["digest"] = .string(model.file?.digest ?? "")
        object["details"] = details(of: model)
        return object
    }

    private func details(of model: ModelStatus) -> JSON {
        let family = model.file?.architecture ?? ""
        return [
            "parent_model": "", "format": model.file == nil ? "" : "gguf", "family": .string(family),
            "families": family.isEmpty ? .null : [.string(family)],
            "parameter_size": .string(model.file?.parameters.map(Self.short) ?? ""),
            "quantization_level": .string(model.file?.quantization ?? ""),
        ]
    }

    private func information(on model: ModelStatus) -> JSON {
        var object = JSON.Object()
        let architecture = model.file?.architecture ?? model.engine
        object["general.architecture"] = .string(architecture)
        if let parameters = model.file?.parameters {
            object["general.parameter_count"] = .integer(Int64(parameters))
        }
        if let length = model.description?.contextLength ?? model.file?.trainedContext {
            object["\(architecture).context_length"] = .integer(Int64(length))
        }
        return .object(object)
    }

    private func capabilities(of model: ModelStatus) -> [String] {
        let able = model.description?.capabilities ?? []
        return ["completion"] + (able.contains(.tools) ? ["tools"] : [])
            + (able.contains(.embeddings) ? ["embedding"] : [])
    }

    /// `3.8B`, `917.0K`
    private static func short(_ count: Int) -> String {
        var value = Double(count)
        var unit = ""
        for next in ["K", "M", "B", "T"] where value >= 1_000 {
            value /= 1_000
            unit = next
        }
        let tenths = Int((value * 10).rounded())
        return "\(tenths / 10).\(tenths % 10)\(unit)"
    }
}
