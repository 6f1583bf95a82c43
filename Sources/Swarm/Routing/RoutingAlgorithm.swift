/// How a host is chosen for a request, by the word of `routing.algorithm`.
package enum RoutingAlgorithm: String, Hashable, Sendable, CaseIterable {
    /// The least time to the first token and to the last, with what each host has read already (``ServiceEstimate``).
    case auto
    case roundRobin = "round-robin"
    /// In turns, as many as each host's weight.
    case weighted
    case leastConnections = "least-connections"
    /// The host that has most of what is required (``CapabilityMatch``).
    case capability
    /// The owner of the conversation on a ring (``HashRing``).
    case hash
    /// The best bid (``Bid``).
    case auction
}
