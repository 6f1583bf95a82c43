package import Core
package import Swarm

/// What `/v1/models` and `status` show of one model.
package struct ModelStatus: Hashable, Sendable {
    package var name: String
    package var aliases: [String]
    /// The engine kind: `builtin`, `stdio`.
    package var engine: String
    package var state: EngineState
    /// Nil until the engine has started once.
    package var description: EngineDescription?
    /// Nil where the engine reads none, and until it has been looked at.
    package var file: ModelFile?
    package var waiting: Int
    package var running: Int
    /// Of those that wait, how many in each class.
    package var queued: [Ticket.Priority: Int] = [:]
    package var rates: RateMeter
    package var source = Models.Source.configured
    /// Bytes that its processes take, as they were measured last; nil where there are none.
    package var memory: Int?
    /// Bytes that a load is expected to take; nil where that is not known.
    package var estimate: Int?
    /// After so long it is unloaded, if nobody asks for it; nil: it is in use, or stays.
    package var leavesIn: Duration?

    package init(
        name: String, aliases: [String], engine: String, state: EngineState, description: EngineDescription?,
        file: ModelFile? = nil, waiting: Int, running: Int, rates: RateMeter = RateMeter()
    ) {
        self.name = name
        self.aliases = aliases
        self.engine = engine
        self.state = state
        self.description = description
        self.file = file
        self.waiting = waiting
        self.running = running
        self.rates = rates
    }
}

extension ModelStatus {
    /// What the peers are told of its work.
    package var load: ModelLoad {
        ModelLoad(
            name: name, waiting: waiting, running: running, slots: description?.slots ?? 1, readRate: rates.read,
            writeRate: rates.write)
    }

    /// What the swarm is told of it. Loads are told apart: they change all the time.
    ///
    /// - Parameter named: what its host's configuration says that it can do. A word for what engines say of themselves
    ///   means nothing here.
    package func hosted(with named: [String] = []) -> HostedModel {
        let told = (description?.capabilities ?? []).map(\.rawValue)
        let own = named.filter { EngineCapability(rawValue: $0) == nil }
        return HostedModel(
            name: name, aliases: aliases, engine: engine, state: state.word, contextLength: description?.contextLength,
            capabilities: Set(told + own).sorted(), file: file)
    }
}
