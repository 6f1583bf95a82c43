import ArgumentParser
import Core

/// `igris-runtime models …`: what can answer, here and elsewhere in the swarm.
struct ModelVerbs: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "models", abstract: "Show and change the models of this host, and show those of the swarm.",
        subcommands: [
            ModelsThereAre.self, ModelsAtWork.self, ModelAddition.self, ModelRemoval.self, ModelCopying.self,
        ], defaultSubcommand: ModelsThereAre.self)
}

/// `igris-runtime models ls`
struct ModelsThereAre: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ls", abstract: "List the models and who has them.",
        discussion: "A host answers for its own models only; for another one ask a host of its row.")

    @OptionGroup var page: PageOptions

    func run() async throws {
        try await reporting {
            let client = try DaemonClient(page.daemon, environment: Environment.variables)
            let entries = try await client.send(.get, "/v1/models").json()["data"]?.array ?? []
            let models = Self.models(entries)
            Terminal.write(page.json ? JSON.array(models).text + "\n" : Self.words(models))
        }
    }

    /// The list has an entry for each name; here is one for each model.
    private static func models(_ entries: [JSON]) -> [JSON] {
        var aliases: [String: [JSON]] = [:]
        for entry in entries {
            guard let name = entry["igris"]?["alias_of"]?.string, let alias = entry["id"] else { continue }
            aliases[name, default: []].append(alias)
        }
        return entries.filter { $0["igris"]?["alias_of"] == nil }.map { entry in
            let igris = entry["igris"]
            let hosts = igris?["hosts"]?.array ?? []
            let name = entry["id"]?.string ?? "?"
            var model = JSON.Object()
            model["name"] = .string(name)
            model["aliases"] = .array(aliases[name] ?? [])
            model["here"] = igris?["here"] ?? false
            for key in ["engine", "state"] { model[key] = igris?[key] ?? hosts.first?[key] ?? .null }
            model["context_length"] = entry["meta"]?["n_ctx"] ?? .null
            for key in ["source", "bytes", "architecture", "parameters", "quantization", "digest", "capabilities"] {
                model[key] = igris?[key] ?? .null
            }
            model["hosts"] = .array(hosts)
            return .object(model)
        }
    }

    private static func words(_ models: [JSON]) -> String {
        var table = Table("NAME", "ALIASES", "ENGINE", "STATE", "CONTEXT", "SIZE", "QUANT", "DIGEST", "HOSTS")
        for model in models {
            table.add(
                model["name"]?.string, model["aliases"]?.array?.compactMap(\.string).joined(separator: ","),
                model["engine"]?.string, model["state"]?.string,
                model["context_length"]?.integer.map { String($0) }, model["bytes"]?.integer.map(size),
                model["quantization"]?.string, model["digest"]?.string.map(Peers.short),
                names(model["hosts"]?.array ?? []))
        }
        return table.text
    }

    private static func names(_ hosts: [JSON]) -> String {
        hosts.map { host in
            let name = host["name"]?.string ?? "?"
            return host["self"]?.bool == true ? "\(name) (this host)" : "\(name) \(host["address"]?.string ?? "")"
        }.joined(separator: ", ")
    }

    /// `2.4GB`
    static func size(_ bytes: Int64) -> String {
        var value = Double(bytes)
        var unit = "B"
        for next in ["kB", "MB", "GB", "TB"] where value >= 1_000 {
            value /= 1_000
            unit = next
        }
        guard unit != "B" else { return "\(bytes)B" }
        let tenths = Int((value * 10).rounded())
        return "\(tenths / 10).\(tenths % 10)\(unit)"
    }
}

/// `igris-runtime models ps`
struct ModelsAtWork: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ps", abstract: "Show the engines of this host and what they do.")

    @OptionGroup var page: PageOptions

    func run() async throws {
        try await reporting {
            let client = try DaemonClient(page.daemon, environment: Environment.variables)
            let models = try await client.send(.get, "/v1/status").json()["models"] ?? []
            Terminal.write(page.json ? models.text + "\n" : words(models))
        }
    }

    private func words(_ models: JSON) -> String {
        var table = Table("NAME", "ENGINE", "STATE", "MEMORY", "UNTIL", "CONTEXT", "RUNNING", "WAITING", "WHY NOT")
        for model in models.array ?? [] {
            table.add(
                model["name"]?.string, model["engine"]?.string, model["state"]?.string,
                model["memory_bytes"]?.integer.map(ModelsThereAre.size), model["expires_at"]?.string,
                model["context_length"]?.integer.map { String($0) }, model["running"]?.integer.map { String($0) },
                model["waiting"]?.integer.map { String($0) }, model["reason"]?.string)
        }
        return table.text
    }

    /// Name, engine, state and why, on one line.
    static func line(_ model: JSON) -> String {
        var words = [model["name"]?.string ?? "?"]
        if let aliases = model["aliases"]?.array?.compactMap(\.string), !aliases.isEmpty {
            words.append("(\(aliases.joined(separator: ", ")))")
        }
        words.append(model["engine"]?.string ?? "?")
        words.append(model["state"]?.string ?? "?")
        if let context = model["context_length"]?.integer { words.append("context \(context)") }
        if let reason = model["reason"]?.string { words.append("- \(reason)") }
        return words.joined(separator: "  ")
    }
}
