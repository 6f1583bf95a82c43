/// The public name of a swarm: a tag derived from its key, which tells nothing about the key. Hosts with another tag
/// belong to another swarm.
package struct SwarmID: Identifier {
    package let bytes: Bytes16

    package init(_ bytes: Bytes16) { self.bytes = bytes }
}

/// One run of one host: random at each start. Two instances with one `NodeID` are a clone.
package struct InstanceID: Identifier {
    package let bytes: Bytes16

    package init(_ bytes: Bytes16) { self.bytes = bytes }
}

/// Who may join: holders of a key, or everyone on this LAN (`mcp.open`).
package enum SwarmSecurity: String, Hashable, Sendable, CaseIterable {
    case key
    case open
}

/// A swarm as those inside know it: its name, and the secret that its certificates are made with.
package struct SwarmAuthority: Sendable {
    package let swarm: SwarmID
    /// 32 bytes derived from the swarm's key: the seed of its certificate authority.
    package let seed: Secret<[UInt8]>

    package init(swarm: SwarmID, seed: Secret<[UInt8]>) {
        self.swarm = swarm
        self.seed = seed
    }
}
