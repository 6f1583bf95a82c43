package import Core
internal import Swarm

/// The models of this host, by name and alias. Fixed at start.
package struct Models: Sendable {
    package struct Entry: Sendable {
        package var name: String
        package var aliases: [String]
        package var kind: String
        package let engine: MeteredEngine
        /// What is known by now of the model's file.
        package var file: @Sendable () -> ModelFile?
        /// The model that answers while this one cannot.
        package var fallback: String?

        package init(
            name: String, aliases: [String], kind: String, engine: any InferenceEngine,
            file: @escaping @Sendable () -> ModelFile? = { nil }, fallback: String? = nil
        ) {
            self.fallback = fallback
            self.name = name
            self.aliases = aliases
            self.kind = kind
            self.engine = MeteredEngine(engine)
            self.file = file
        }

        package func isCalled(_ name: String) -> Bool { self.name == name || aliases.contains(name) }
    }

    package let entries: [Entry]

    package init(_ entries: [Entry]) { self.entries = entries }

    /// Throws ``RuntimeError`` `.modelNotFound` with the names that there are.
    package func entry(named name: String) throws(RuntimeError) -> Entry {
        if let entry = entries.first(where: { $0.isCalled(name) }) { return entry }
        let known = entries.flatMap { [$0.name] + $0.aliases }.joined(separator: ", ")
        throw RuntimeError(
            .modelNotFound, "this host has no model '\(name.prefix(100))'; it has: \(known)",
            parameter: "model")
    }

    package func statuses() async -> [ModelStatus] {
        var statuses: [ModelStatus] = []
        for entry in entries {
            let state = await entry.engine.state()
            let load = await entry.engine.load()
            // A description is shown only when it costs no wait.
            let description = state == .ready ? try? await entry.engine.describe() : nil
            statuses.append(
                ModelStatus(
                    name: entry.name, aliases: entry.aliases, engine: entry.kind, state: state,
                    description: description, file: entry.file(), waiting: load.waiting, running: load.running,
                    rates: entry.engine.rates))
        }
        return statuses
    }
}
