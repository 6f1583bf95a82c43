internal import Core
internal import Swarm

extension Ticket {
    /// What a client's request waits by, here or at another host: those are told a hash of who asks, and no name.
    init(_ request: ChatRequest, _ caller: Owner) {
        self.init(
            caller: HashRing.key(of: caller.name), priority: request.priority, patience: request.patience)
    }
}
