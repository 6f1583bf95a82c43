import Guardian

extension Access {
    /// Of a path that is none: a stranger does not learn which of those for peers there are.
    init(ofUnknown path: some StringProtocol) { self = path.hasPrefix("/v1/sync/") ? .peer : .known }
}
