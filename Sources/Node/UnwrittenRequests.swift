import Core

/// Requests that failed before anything of them was written. One of these that is sent again is no retry of the last
/// turn, even where that said the same (`next`, `go on`). Bounded; the oldest go.
struct UnwrittenRequests {
    /// A request as its client sees it.
    struct Identity: Hashable {
        var owner: Owner
        var continuation: ChatRequest.Continuation
        var user: String?
        /// Of all its messages.
        var history: PrefixHash
    }

    private static let limit = 1_024

    private var known: Set<Identity> = []
    private var order: [Identity] = []

    var isEmpty: Bool { known.isEmpty }

    mutating func insert(_ identity: Identity) {
        guard known.insert(identity).inserted else { return }
        order.append(identity)
        if order.count > Self.limit { known.remove(order.removeFirst()) }
    }

    /// Whether it was here.
    mutating func remove(_ identity: Identity) -> Bool {
        guard known.remove(identity) != nil else { return false }
        order.removeAll { $0 == identity }
        return true
    }
}
