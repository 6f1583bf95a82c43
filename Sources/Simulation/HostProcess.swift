import Core
import Cryptography
import Swarm

/// What dies with a process: the machines, and what their shell keeps beside them. A class, so that a machine's step
/// never copies it.
final class HostProcess {
    let started: Duration
    /// Milliseconds since 1970.
    let startedAt: UInt64
    let instance: InstanceID
    var facts: MemberFacts
    var mesh: Mesh
    var membership: Membership
    var replication: Replication
    var overlay: Overlay
    /// Batches go through the tree.
    var isTree = false
    /// Nil where no key is ever changed.
    var trust: KeyRotation?
    /// It was linked with another, and both noted it.
    var hasMet = false
    /// The swarm whose certificate it shows, and those that it takes beside.
    var shown: SwarmID
    var accepted: Set<SwarmID> = []
    var denied: Set<NodeID> = []
    /// The link that carries the channels with each peer.
    var adopted: [NodeID: LinkNumber] = [:]
    /// When the next tick is in the queue.
    var armed: Duration?
    // When the machines want their next tick, since the start.
    private(set) var meshWake: Duration = .zero
    private(set) var membershipWake: Duration = .zero
    private(set) var overlayWake: Duration = .seconds(3600)
    var trustWake: Duration = .zero
    /// When replication was ticked last. It is every 20 ms; of these the ticks that would do nothing are left out.
    var ticked: Duration = .zero
    /// Writes on their way to the disk; without a write of the log, one that puts rows right.
    var writes: [UInt64: (write: Replication.Write?, commit: Commit, due: Duration)] = [:]
    var ledger = ConversationLedger()
    /// Rows are being put right, or will be tried to be once more.
    var isMending = false
    var diskFree: Duration = .zero
    /// Whom the museum has kept from a vector.
    var greeted: Set<NodeID> = []
    /// Clients that wait for word of what they wrote.
    var promises: [Promise] = []
    var isWriting: Bool { !writes.isEmpty }
    var transfer: World.SnapshotTransfer?
    /// Conversations as they were read since the last change.
    var views: [StreamID: View] = [:]

    struct View {
        var state: ConversationState
        /// Written since it was looked at.
        var fresh: [Operation] = []
    }

    init(
        _ host: Host, _ recovered: RecoveredLog, at now: Duration, wallClock: UInt64, seed: UInt64,
        meshLimit: Int, isTrusting: Bool, isPlainSWIM: Bool, rotates: Bool
    ) {
        var random = SplitMix64(seed: seed)
        started = now
        startedAt = wallClock
        instance = InstanceID(Bytes16(high: random.next(), low: random.next()))
        let facts = MemberFacts(name: "host-\(host.index)", version: "1", addresses: [host.address])
        self.facts = facts
        mesh = Mesh(
            Mesh.Identity(
                node: host.node, instance: instance, security: .key, name: facts.name, version: "1",
                port: host.address.port, addresses: [host.address], started: wallClock),
            swarms: [host.root.swarm], limit: meshLimit, seed: random.next())
        var tuning = Membership.Tuning()
        tuning.meshHosts = meshLimit
        tuning.isLifeguard = !isPlainSWIM
        membership = Membership(
            node: host.node, instance: instance, facts: facts, seals: .cheap(host.publicKey),
            wallClock: wallClock, seed: random.next(), tuning: tuning)
        replication = Replication(
            recovered, seals: .cheap(host.publicKey, isTrusting: isTrusting), seed: random.next(),
            evidence: host.disk.image.operations(of: EquivocationProof.stream))
        overlay = Overlay(node: host.node, limit: meshLimit, seed: random.next())
        shown = host.root.swarm
        // A ring that cannot be read is a fault of ours, which the check of the keys finds.
        trust = rotates ? try? KeyRotation(node: host.node, root: host.root, saved: host.ring) : nil
    }

    var replicationWake: Duration {
        adopted.isEmpty ? .seconds(Int64.max) : max(replication.wake, ticked + Replication.Timing.tick)
    }

    /// When anything is due, since the start.
    var wake: Duration {
        min(meshWake, membershipWake, replicationWake, overlayWake, trust == nil ? overlayWake : trustWake)
    }

    /// Whether a certificate of that swarm is good here.
    func takes(_ swarm: SwarmID) -> Bool { swarm == shown || accepted.contains(swarm) }

    // In their places: to ask a machine in a class for its wake is to copy it.

    func step(_ event: Mesh.Event, now: Duration, wallClock: UInt64) -> [Mesh.Effect] {
        func step(_ mesh: inout Mesh, _ wake: inout Duration) -> [Mesh.Effect] {
            defer { wake = mesh.wake }
            return mesh.step(event, now: now, wallClock: wallClock)
        }
        return step(&mesh, &meshWake)
    }

    func step(_ event: Overlay.Event, now: Duration) -> [Overlay.Effect] {
        func step(_ overlay: inout Overlay, _ wake: inout Duration) -> [Overlay.Effect] {
            defer { wake = overlay.wake }
            return overlay.step(event, now: now)
        }
        return step(&overlay, &overlayWake)
    }

    func step(_ event: Membership.Event, now: Duration) -> [Membership.Effect] {
        func step(_ membership: inout Membership, _ wake: inout Duration) -> [Membership.Effect] {
            defer { wake = membership.wake }
            return membership.step(event, now: now)
        }
        return step(&membership, &membershipWake)
    }
}

extension SealScheme {
    /// A hash instead of a signature: what is checked is that the machines ask, not that Ed25519 is strong.
    static func cheap(_ publicKey: [UInt8], isTrusting: Bool = false) -> SealScheme {
        SealScheme(
            author: publicKey, sign: { CheapSignature.sign($0, publicKey) },
            verify: { isTrusting || $0 == CheapSignature.sign($1, $2) }, node: { Bytes16($0).map(NodeID.init) })
    }
}

enum CheapSignature {
    static func sign(_ message: [UInt8], _ publicKey: [UInt8]) -> [UInt8] {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in publicKey { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        for byte in message { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        var writer = ByteWriter()
        writer.reserve(64)
        for _ in 0..<8 { writer.put(bigEndian: hash) }
        return writer.bytes
    }
}

/// Operations on their way, and the client who waits for word of them.
struct Promise {
    var dots: [Dot]
    var last: Dot
    var stream: StreamID
    /// A model answers it once it is kept.
    var isQuestion: Bool
    var isKept = false
    /// When the client hears that it failed, after the disk refused it.
    var end: Duration?
}
