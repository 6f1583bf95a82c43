package import Core
package import Swarm

/// What ``SwarmNode`` is made of.
package struct SwarmSetup: Sendable {
    package typealias Doctor = @Sendable (SwarmView) async -> [DiagnosticCheck]
    /// Answers a peer's doctor, or takes its answer: payload, who sent it, where the link leads, and how long ago it was
    /// heard of on each channel of discovery. Throws for what is no message.
    package typealias Consultation =
        @Sendable ([UInt8], NodeID, NetworkAddress, [DiscoveryChannel: Duration]) async throws -> [UInt8]?

    package var node: NodeID
    package var instance: InstanceID
    package var name: String
    package var version: String
    /// `node.zone`: where this host stands, for its peers to know.
    package var zone = ""
    package var security: SwarmSecurity
    package var transport: any PeerTransport
    package var discovery: any Discovery
    package var seals: SealScheme
    /// Where the swarm's key stands, as the last run left it.
    package var rotation: KeyRotation
    package var acceptedKeys: AcceptedKeys
    /// Keeps what ``KeyRotation`` wants for the next start.
    package var keepRing: @Sendable ([UInt8]) async throws -> Void
    package var snapshots: any SnapshotSource
    /// What this host tells the others of its models.
    package var models: @Sendable () async -> [HostedModel]
    /// Looks at everything that may keep hosts apart.
    package var doctor: Doctor
    package var consultation: Consultation
    /// Where this host accepts links, for a port: read again every few seconds.
    package var addresses: @Sendable (_ port: Int) -> [NetworkAddress]
    /// Called when a link with a host of another machine is in use.
    package var metAnotherMachine: @Sendable () -> Void = {}
    /// How much disk and memory this machine has left.
    package var resources: @Sendable () -> HealthWatch.Sample = { HealthWatch.Sample() }
    /// What this host is doing.
    package var load: @Sendable () async -> HostLoad = { HostLoad() }
    /// Called when a peer has told what it is doing.
    package var loadTold: @Sendable (NodeID) -> Void = { _ in }
    /// Milliseconds since 1970.
    package var wallClock: @Sendable () -> UInt64
    /// Told now and then what the clocks of the linked hosts say.
    package var heardClocks: @Sendable (_ milliseconds: [Int64]) -> Void = { _ in }
    /// The time by which conversations expire; nil while it is not known which clock is right.
    package var settledClock: @Sendable () -> UInt64?
    /// For the machines' random draws.
    package var seed: UInt64
    /// Up to so many hosts each is linked with each.
    package var meshLimit: Int

    package init(
        node: NodeID, instance: InstanceID, name: String, version: String, security: SwarmSecurity,
        transport: any PeerTransport, discovery: any Discovery, seals: SealScheme,
        rotation: KeyRotation, acceptedKeys: AcceptedKeys, keepRing: @escaping @Sendable ([UInt8]) async throws -> Void,
        snapshots: any SnapshotSource,
        models: @escaping @Sendable () async -> [HostedModel],
        doctor: @escaping Doctor,
        consultation: @escaping Consultation,
        addresses: @escaping @Sendable (_ port: Int) -> [NetworkAddress], wallClock: @escaping @Sendable () -> UInt64,
        seed: UInt64, meshLimit: Int = Limits.meshHosts
    ) {
        self.node = node
        self.instance = instance
        self.name = name
        self.version = version
        self.security = security
        self.transport = transport
        self.discovery = discovery
        self.seals = seals
        self.rotation = rotation
        self.acceptedKeys = acceptedKeys
        self.keepRing = keepRing
        self.snapshots = snapshots
        self.models = models
        self.doctor = doctor
        self.consultation = consultation
        self.addresses = addresses
        self.wallClock = wallClock
        settledClock = wallClock
        self.seed = seed
        self.meshLimit = meshLimit
    }

    func mesh(port: Int) -> Mesh {
        Mesh(
            Mesh.Identity(
                node: node, instance: instance, security: security, name: name, version: version, port: port,
                addresses: port == 0 ? [] : addresses(port), started: wallClock()),
            swarms: [rotation.primary.swarm].compactMap(\.self), limit: meshLimit, seed: seed)
    }

    func membership(facts: MemberFacts) -> Membership {
        var tuning = Membership.Tuning()
        tuning.meshHosts = meshLimit
        return Membership(
            node: node, instance: instance, facts: facts, seals: seals, wallClock: wallClock(),
            seed: seed &+ 1, tuning: tuning)
    }

    var overlay: Overlay { Overlay(node: node, limit: meshLimit, seed: seed &+ 2) }
}

/// What the doctor is told of the swarm as it stands.
package struct SwarmView: Sendable {
    package var swarm: SwarmID
    package var hosts: [HostReport]
    package var channels: [DiscoveryStatus]
    /// Sends a linked peer's doctor a message.
    package var send: @Sendable (NodeID, [UInt8]) async -> Void
}
