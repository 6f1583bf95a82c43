import Core
import Node

/// `GET /v1/models` and `/v1/models/{id}` (wire.md §5.5), in the shape of OpenAI's and of Anthropic's lists at once.
///
/// The swarm's models are all listed, this host's own first. Those that only others have say so (`igris.here`): one of
/// those writes the answers then (docs/routing.md).
struct ModelList {
    let models: [ModelStatus]
    /// Everyone in the swarm; empty where this host shares nothing.
    var hosts: [HostReport] = []
    /// Seconds since 1970: models have no birthday that anybody needs; they exist since this host started.
    let created: Int64

    /// Every model, each followed by its aliases, so that a client that picks from the list can pick those too.
    var reply: Reply {
        let own = models.flatMap { model in names(of: model).map { entry(model, as: $0) } }
        let entries = own + elsewhere.map { entry($0.model, as: $0.name) }
        return Reply([
            "object": "list", "data": .array(entries), "has_more": false,
            "first_id": entries.first?["id"] ?? .null, "last_id": entries.last?["id"] ?? .null,
        ])
    }

    func reply(for id: String) throws(RuntimeError) -> Reply {
        if let model = models.first(where: { names(of: $0).contains(id) }) { return Reply(entry(model, as: id)) }
        if let model = elsewhere.first(where: { $0.name == id })?.model { return Reply(entry(model, as: id)) }
        let known = models.map(\.name).joined(separator: ", ")
        throw RuntimeError(
            .modelNotFound,
            known.isEmpty
                ? "there is no such model; this host has none" : "there is no such model; there are: \(known)")
    }

    private func names(of model: ModelStatus) -> [String] { [model.name] + model.aliases }

    /// What members have and this host has not, by each of its names.
    private var elsewhere: [(name: String, model: HostedModel)] {
        var taken = Set(models.flatMap(names))
        var found: [(name: String, model: HostedModel)] = []
        for host in hosts where !host.isSelf && host.state == .alive {
            for model in host.models {
                for name in [model.name] + model.aliases where taken.insert(name).inserted {
                    found.append((name, model))
                }
            }
        }
        return found
    }

    // MARK: Entries

    private func entry(_ model: ModelStatus, as id: String) -> JSON {
        var igris = model.statusFields
        igris["here"] = true
        if id != model.name { igris["alias_of"] = .string(model.name) }
        return entry(id, model.hosted(), igris)
    }

    private func entry(_ model: HostedModel, as id: String) -> JSON {
        var igris = JSON.Object()
        igris["here"] = false
        if id != model.name { igris["alias_of"] = .string(model.name) }
        return entry(id, model, igris)
    }

    private func entry(_ id: String, _ model: HostedModel, _ igris: JSON.Object) -> JSON {
        var object = JSON.Object()
        object["id"] = .string(id)
        object["object"] = "model"
        object["created"] = .integer(created)
        object["owned_by"] = "igris-runtime"
        object["type"] = "model"
        object["display_name"] = .string(id)
        object["lifecycle"] = "active"
        object["created_at"] = .string(Timestamp(milliseconds: created * 1_000).description)
        let meta = Self.meta(model)
        if !meta.members.isEmpty { object["meta"] = .object(meta) }
        var igris = igris
        for member in model.file?.fields.members ?? [] { igris[member.key] = member.value }
        let having = hosts.filter { host in host.state == .alive && host.models.contains { $0.isCalled(id) } }
        if !having.isEmpty { igris["hosts"] = .array(having.map { Self.host($0, id) }) }
        object["igris"] = .object(igris)
        return .object(object)
    }

    /// As llama-server names it.
    private static func meta(_ model: HostedModel) -> JSON.Object {
        var meta = JSON.Object()
        if let length = model.contextLength { meta["n_ctx"] = .integer(Int64(length)) }
        if let length = model.file?.trainedContext { meta["n_ctx_train"] = .integer(Int64(length)) }
        if let count = model.file?.parameters { meta["n_params"] = .integer(Int64(count)) }
        if let file = model.file { meta["size"] = .integer(Int64(file.bytes)) }
        if !model.capabilities.isEmpty { meta["capabilities"] = .array(model.capabilities.map { .string($0) }) }
        meta["state"] = .string(model.state)
        return meta
    }

    private static func host(_ host: HostReport, _ id: String) -> JSON {
        var object = JSON.Object()
        object["id"] = .string(host.id?.description)
        object["name"] = .string(host.name)
        object["address"] = .string("\(host.address)")
        object["self"] = .bool(host.isSelf)
        if let model = host.models.first(where: { $0.isCalled(id) }) {
            object["engine"] = .string(model.engine)
            object["state"] = .string(model.state)
            object["digest"] = .string(model.file?.digest)
        }
        return .object(object)
    }
}

extension ModelFile {
    fileprivate var fields: JSON.Object {
        var object = JSON.Object()
        object["digest"] = .string(digest)
        object["bytes"] = .integer(Int64(bytes))
        object["architecture"] = .string(architecture)
        object["parameters"] = parameters.map { .integer(Int64($0)) } ?? .null
        object["quantization"] = .string(quantization)
        return object
    }
}

extension ModelStatus {
    /// When it is unloaded if nobody asks for it, as RFC 3339; nil: it is in use, not loaded, or stays.
    var leaves: String? {
        leavesIn.map { wait in
            let (seconds, attoseconds) = wait.components
            let milliseconds = min(max(seconds, 0), 1_000_000_000) * 1_000 + attoseconds / 1_000_000_000_000_000
            return Timestamp(milliseconds: Timestamp.now().milliseconds + milliseconds).description
        }
    }

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
        case .unloaded, .loading, .starting, .ready, .stopped: break
        }
        object["source"] = .string(source.rawValue)
        if let memory { object["memory_bytes"] = .integer(Int64(memory)) }
        if let estimate { object["memory_estimate_bytes"] = .integer(Int64(estimate)) }
        if let leaves { object["expires_at"] = .string(leaves) }
        if let description {
            object["context_length"] = .integer(Int64(description.contextLength))
            object["fingerprint"] = .string(description.fingerprint)
            object["capabilities"] = .array(hosted().capabilities.map { .string($0) })
            if !description.workers.isEmpty { object["workers"] = .array(description.workers.map { .string($0) }) }
        }
        object["waiting"] = .integer(Int64(waiting))
        object["running"] = .integer(Int64(running))
        return object
    }
}
