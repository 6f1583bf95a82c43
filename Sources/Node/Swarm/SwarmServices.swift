package import Core

/// What the roof sees of the swarm.
package protocol SwarmServices: Sendable {
    /// Everyone this host knows of, itself first.
    func hosts() async -> [HostReport]
    func swarmStatus() async -> SwarmReport
    /// Who is linked with whom: this host's own links, then those that the other members tell of.
    func links() async -> [LinkReport]
    /// Events from now on; a slow reader loses the oldest.
    func swarmEvents() async -> AsyncStream<SwarmEvent>
    /// Finds out why hosts do not see each other; takes up to 10 s.
    func diagnose() async -> [DiagnosticCheck]
    /// Tries to link with a host at `address`. Throws ``RuntimeError`` with the reason.
    func join(_ address: NetworkAddress) async throws
    /// Denies an identity everywhere. Throws ``RuntimeError`` `.notFound` for one never heard of.
    func evict(_ node: NodeID) async throws
    /// Begins, or resumes, the change to a fresh swarm key. Returns where it stands.
    func rotateKey(force: Bool) async throws -> RotationReport
    /// Deletes a conversation everywhere and waits up to `patience` for the others' word.
    func deleteConversation(
        _ id: ConversationID, of caller: Owner, patience: Duration
    ) async throws -> DeletionReport
    /// The manifest of a snapshot of the log that is good for a newcomer: a fresh one, or one made a moment ago. It
    /// stays to be fetched for a while after the last byte was asked for. For peers. Throws ``RuntimeError``
    /// `.overloaded` while as many are being fetched as this host lets.
    func makeSnapshot() async throws -> SnapshotManifest
    /// How many bytes a snapshot has. Throws ``RuntimeError`` `.notFound` for one that is gone.
    func snapshotLength(_ id: Bytes16) async throws -> Int
    /// Part of a snapshot, at most ``Limits/snapshotPartBytes``, for `peer`. Waits where that would be too fast.
    func snapshotBytes(_ id: Bytes16, _ range: Range<Int>, to peer: NodeID) async throws -> [UInt8]
    /// How far this host's log reaches.
    func vector() async -> VersionVector
    /// Looks at every row of the store, gives peers some seconds to bring what is damaged, and compares each
    /// conversation with what the peers hold. Throws ``RuntimeError`` where the store cannot be read.
    func verify(withPeers: Bool) async throws -> VerificationReport
    /// The digests of all conversations (``StreamDigestCodec``), for a peer that compares.
    func streamDigests() async throws -> [UInt8]
}

/// `GET /v1/swarm/status`.
package struct SwarmReport: Hashable, Sendable {
    package enum Phase: String, Hashable, Sendable {
        case starting
        /// Looks for peers: the first seconds of a run.
        case discovering
        /// No peer is known.
        case alone
        /// Far behind a peer and catching up.
        case syncing
        case steady
        /// Has said goodbye.
        case leaving
    }

    /// When a phase began.
    package struct PhaseChange: Hashable, Sendable {
        package var phase: Phase
        /// Milliseconds since 1970.
        package var at: UInt64

        package init(_ phase: Phase, at: UInt64) {
            self.phase = phase
            self.at = at
        }
    }

    package var node: NodeID
    package var name: String
    package var instance: InstanceID
    package var swarm: SwarmID
    package var security: SwarmSecurity
    package var phase: Phase
    /// The phases so far, the latest last; a bounded number of them.
    package var phases: [PhaseChange]
    /// `worker` until there are elections.
    package var role: String
    /// Members alive, this host included.
    package var alive: Int
    package var suspect: Int
    package var dead: Int
    /// More hosts than ``meshLimit``: not everyone is linked with everyone, and a tree carries what is fresh.
    package var isTree: Bool
    package var meshLimit: Int
    /// Links of this host.
    package var linked: Int
    /// SHA-256 over what the log holds, chains included: equal on hosts that hold the same. 64 hex digits.
    package var digest: String
    package var operations: Int
    package var divergences: Int
    package var channels: [DiscoveryStatus]
    package var rotation: RotationReport?
    /// What an operator should know, one sentence each with the next step.
    package var warnings: [String]

    package init(
        node: NodeID, name: String = "", instance: InstanceID, swarm: SwarmID, security: SwarmSecurity, phase: Phase,
        phases: [PhaseChange] = [], role: String = "worker", alive: Int, suspect: Int, dead: Int, isTree: Bool = false,
        meshLimit: Int = Limits.meshHosts, linked: Int = 0, digest: String, operations: Int, divergences: Int,
        channels: [DiscoveryStatus], rotation: RotationReport?, warnings: [String]
    ) {
        self.node = node
        self.name = name
        self.phases = phases
        self.role = role
        self.instance = instance
        self.swarm = swarm
        self.security = security
        self.phase = phase
        self.alive = alive
        self.suspect = suspect
        self.dead = dead
        self.isTree = isTree
        self.meshLimit = meshLimit
        self.linked = linked
        self.digest = digest
        self.operations = operations
        self.divergences = divergences
        self.channels = channels
        self.rotation = rotation
        self.warnings = warnings
    }
}

/// One link of the topology.
package struct LinkReport: Hashable, Sendable {
    package var from: NodeID
    package var to: NodeID
    package var roundTrip: Duration?
    /// Of this host's own links; nil of others'.
    package var bytesSent: Int?
    package var bytesReceived: Int?

    package init(
        from: NodeID, to: NodeID, roundTrip: Duration? = nil, bytesSent: Int? = nil, bytesReceived: Int? = nil
    ) {
        self.from = from
        self.to = to
        self.roundTrip = roundTrip
        self.bytesSent = bytesSent
        self.bytesReceived = bytesReceived
    }
}

/// Something that happened to the swarm, for the log and for whoever listens.
package struct SwarmEvent: Hashable, Sendable {
    /// `node_alive`, `node_suspect`, `node_dead`, `node_left`, `node_foreign`, `node_cloned`, `conversation_updated`,
    /// `conversation_deleted`, `divergence`, `key_rotation`, …
    package var name: String
    /// Milliseconds since 1970.
    package var at: UInt64
    package var node: NodeID?
    /// Never what was said.
    package var detail: String

    package init(_ name: String, at: UInt64, node: NodeID? = nil, detail: String = "") {
        self.name = name
        self.at = at
        self.node = node
        self.detail = detail
    }
}

/// Where a deletion stands.
package struct DeletionReport: Hashable, Sendable {
    package var confirmed: [NodeID]
    package var pending: [NodeID]

    package init(confirmed: [NodeID], pending: [NodeID]) {
        self.confirmed = confirmed
        self.pending = pending
    }
}
