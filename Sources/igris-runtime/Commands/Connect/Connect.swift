import ArgumentParser
import Core

/// `igris-runtime connect CLIENT`: the one thing to paste so that a client uses this daemon, tried out first.
struct Connect: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print what a client needs to use this daemon, and try it out.",
        discussion: """
            Sends one short request in the words that the client uses; what it says is not kept. The lines to paste are \
            printed on standard output, everything else on standard error. A key is taken from $IGRIS_API_KEY; the \
            lines name the variable and never the key.
            """)

    @OptionGroup var daemon: DaemonOptions

    @Argument(help: "open-webui, claude-code, codex, vscode or aider.")
    var client: ConnectedClient

    @Option(help: "The model that the client shall use; without it the daemon's first.")
    var model: String?

    @Flag(help: "Print JSON.")
    var json = false

    func run() async throws {
        try await reporting {
            let variables = Environment.variables
            let connection = try DaemonClient(daemon, environment: variables)
            let model = try await chosenModel(connection)
            let recipe = ConnectionRecipe(
                client: client, address: connection.address, model: model,
                hasKey: variables["IGRIS_API_KEY"].map { !$0.isEmpty } ?? false)
            let trouble = await tryOut(recipe, connection)
            // Nil also where the key may not see the status.
            let tls = try? await connection.send(.get, "/v1/status").json()["tls"]
            show(recipe, trouble, tls: tls?.object == nil ? nil : tls)
            if trouble != nil { throw Exit.failure }
        }
    }

    private func chosenModel(_ connection: DaemonClient) async throws -> String {
        let models = try await connection.send(.get, "/v1/models").json()["data"]?.array ?? []
        let here = models.filter { $0["igris"]?["here"]?.bool != false }.compactMap { $0["id"]?.string }
        guard let model else {
            guard let first = here.first else {
                throw RuntimeError(.unavailable, "the daemon has no model; configure one under models")
            }
            return first
        }
        guard here.contains(model) else {
            throw RuntimeError(
                .modelNotFound, "this host has no model '\(model)'; it has: \(here.joined(separator: ", "))")
        }
        return model
    }

    /// Nil where everything works, else what is wrong.
    private func tryOut(_ recipe: ConnectionRecipe, _ connection: DaemonClient) async -> String? {
        for trial in recipe.trials {
            if let trouble = await tryOut(trial, connection) { return "\(trial.path): \(trouble)" }
        }
        return nil
    }

    private func tryOut(_ trial: ConnectionRecipe.Trial, _ connection: DaemonClient) async -> String? {
        do {
            let reply = try await connection.send(
                trial.body == nil ? .get : .post, trial.path, json: trial.body, patience: .seconds(120))
            guard reply.isSuccess else {
                let error = try? JSON.parse(reply.body)  // of whichever dialect
                let message = error?["error"]?["message"] ?? error?["error"]
                return message?.string ?? "the daemon answered with status \(reply.status)"
            }
            return trial.isAnswer(String(decoding: reply.body, as: UTF8.self))
                ? nil : "the reply is not what \(client.rawValue) expects"
        } catch {
            return (error as? RuntimeError)?.message ?? "\(error)"
        }
    }

    private func show(_ recipe: ConnectionRecipe, _ trouble: String?, tls: JSON?) {
        var notes = recipe.notes
        if let tls {
            notes.append("from other machines the same with https://; \(ServerCertificateVerb.words(tls).first ?? "")")
            if tls["own"]?.bool == true {
                notes.append("they must be given that certificate first: igris-runtime certificate > igris.pem")
            }
        }
        if json {
            let report: JSON = [
                "client": .string(recipe.client.rawValue), "model": .string(recipe.model),
                "where": .string(recipe.place), "paste": .string(recipe.text),
                "tried": .array(recipe.trials.map { .string($0.path) }),
                "works": .bool(trouble == nil), "trouble": trouble.map { .string($0) } ?? .null,
                "notes": .array(notes.map { .string($0) }),
            ]
            return Terminal.write(report.text + "\n")
        }
        Terminal.complain(recipe.place)
        Terminal.write(recipe.text)
        for note in notes { Terminal.complain(note) }
        Terminal.complain(
            trouble.map { "tried with model \(recipe.model), and failed: \($0)" }
                ?? "tried with model \(recipe.model): it works")
    }
}
