/// Who may use a route.
enum Access: Hashable {
    /// Whoever ``AccessRule`` lets in: this machine, and others with a key.
    case client
    /// A client on this machine itself: what it asks for changes the swarm.
    case admin
    /// A host of this swarm, proven by its certificate; no API key opens these.
    case peer
}

extension Access {
    /// Of a path that is none: a stranger does not learn which of those for peers there are.
    init(ofUnknown path: some StringProtocol) { self = path.hasPrefix("/v1/sync/") ? .peer : .client }
}
