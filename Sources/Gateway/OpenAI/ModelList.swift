import Core
import Node

/// `GET /v1/models` and `/v1/models/{id}` (wire.md §5.5).
struct ModelList {
    let models: [ModelStatus]
    /// Seconds since 1970: models have no birthday that anybody needs; they exist since this host started.
    let created: Int64

    /// Every model, each followed by its aliases, so that a client that picks from the list can pick those too.
    var reply: Reply {
        let entries = models.flatMap { model in ([model.name] + model.aliases).map { entry(model, as: $0) } }
        return Reply(["object": "list", "data": .array(entries)])
    }

    func reply(for id: String) throws(RuntimeError) -> Reply {
        guard let model = models.first(where: { $0.name == id || $0.aliases.contains(id) }) else {
            let names = models.map(\.name).joined(separator: ", ")
            throw RuntimeError(
                .modelNotFound,
                names.isEmpty
                    ? "there is no such model; this host has none" : "there is no such model; there are: \(names)")
        }
        return Reply(entry(model, as: id))
    }

    private func entry(_ model: ModelStatus, as id: String) -> JSON {
        var object = JSON.Object()
        object["id"] = .string(id)
        object["object"] = "model"
        object["created"] = .integer(created)
        object["owned_by"] = "igris-runtime"
        if let length = model.description?.contextLength { object["meta"] = ["n_ctx": .integer(Int64(length))] }
        var igris = model.statusFields
        if id != model.name { igris["alias_of"] = .string(model.name) }
        object["igris"] = .object(igris)
        return .object(object)
    }
}

extension ModelStatus {
    /// How the model's engine is, with the reason where it does not answer.
    var statusFields: JSON.Object {
        var object = JSON.Object()
        object["engine"] = .string(engine)
        object["state"] = .string(state.word)
        switch state {
        case .restarting(let reason): object["reason"] = .string(reason)
        case .quarantined(let reason, let retryAt):
            object["reason"] = .string(reason)
            object["retry_at"] = .integer(retryAt)
        case .starting, .ready, .stopped: break
        }
        if let description {
            object["context_length"] = .integer(Int64(description.contextLength))
            object["fingerprint"] = .string(description.fingerprint)
        }
        object["waiting"] = .integer(Int64(waiting))
        object["running"] = .integer(Int64(running))
        return object
    }
}
