package import Core

/// What a member tells everyone about itself, under its signature.
package struct MemberFacts: Hashable, Sendable {
    package var name: String
    package var version: String
    package var role: String
    /// Where it stands, for spreading copies; empty: not told.
    package var zone: String
    package var models: [HostedModel]
    /// Where it accepts links, the best first.
    package var addresses: [NetworkAddress]
    /// Whom it is linked with, by the beginnings of their ids, ascending: ``Topology``.
    package var neighbours: [UInt32] = []

    package init(
        name: String, version: String, role: String = "worker", zone: String = "", models: [HostedModel] = [],
        addresses: [NetworkAddress] = []
    ) {
        self.name = name
        self.version = version
        self.role = role
        self.zone = zone
        self.models = models
        self.addresses = addresses
    }
}

/// One host as ``Membership`` knows it.
package struct Member: Hashable, Sendable {
    package enum State: String, Hashable, Sendable, CaseIterable {
        case alive
        case suspect
        case dead
        case left
    }

    package var node: NodeID
    package var instance: InstanceID
    package var incarnation: UInt64
    package var state: State
    package var facts: MemberFacts
    /// When the state was taken, since this host's start.
    package var since: Duration
    /// When it was last heard from directly.
    package var heard: Duration?
}
