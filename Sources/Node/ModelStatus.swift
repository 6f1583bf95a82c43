package import Core

/// What `/v1/models` and `status` show of one model.
package struct ModelStatus: Hashable, Sendable {
    package var name: String
    package var aliases: [String]
    /// The engine kind: `builtin`, `stdio`.
    package var engine: String
    package var state: EngineState
    /// Nil until the engine has started once.
    package var description: EngineDescription?
    package var waiting: Int
    package var running: Int

    package init(
        name: String, aliases: [String], engine: String, state: EngineState, description: EngineDescription?,
        waiting: Int, running: Int
    ) {
        self.name = name
        self.aliases = aliases
        self.engine = engine
        self.state = state
        self.description = description
        self.waiting = waiting
        self.running = running
    }
}
