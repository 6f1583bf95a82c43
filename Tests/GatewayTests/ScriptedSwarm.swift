import Core
import NIOCore
import Node
import Synchronization

@testable import Gateway

/// A swarm that is as the test says, and notes what it is asked to do.
final class ScriptedSwarm: SwarmServices {
    struct State {
        var hosts: [HostReport] = []
        var links: [LinkReport] = []
        var checks: [DiagnosticCheck] = []
        var status = ScriptedSwarm.steady
        var snapshot: [UInt8] = []
        /// What was asked for, in order.
        var deeds: [String] = []
        var listeners: [AsyncStream<SwarmEvent>.Continuation] = []
        var refusal: RuntimeError?
    }

    static let ownID = NodeID(Bytes16(high: 0x0123_4567_89AB_CDEF, low: 0xFEDC_BA98_7654_3210))
    static let otherID = NodeID(Bytes16(high: 1, low: 2))
    static let strangerID = NodeID(Bytes16(high: 3, low: 4))
    static let swarmID = SwarmID(Bytes16(high: 7, low: 7))
    static let snapshotID = Bytes16(high: 9, low: 9)

    static let steady = SwarmReport(
        node: ownID, name: "attic", instance: InstanceID(Bytes16(high: 5, low: 6)), swarm: swarmID, security: .key,
        phase: .steady, phases: [.init(.starting, at: 1_700_000_000_000), .init(.steady, at: 1_700_000_002_500)],
        alive: 2, suspect: 0, dead: 0, digest: "abcd", operations: 12, divergences: 0,
        channels: [
            DiscoveryStatus(
                channel: .mdns, state: .unavailable, detail: "Avahi does not run: start it, or rely on multicast"),
            DiscoveryStatus(
                channel: .multicast, state: .on, detail: "on 2 interfaces", sent: 4, received: 9,
                lastSent: 1_700_000_000_000),
        ],
        rotation: nil, warnings: ["the clock of kitchen is 70 s ahead: set it"])

    let state: Mutex<State>

    init(_ change: (inout State) -> Void = { _ in }) {
        var state = State()
        state.hosts = Self.threeHosts
        state.links = [
            LinkReport(
                from: Self.ownID, to: Self.otherID, roundTrip: .microseconds(250), bytesSent: 10, bytesReceived: 20),
            LinkReport(from: Self.otherID, to: Self.strangerID),
        ]
        change(&state)
        self.state = Mutex(state)
    }

    private static let otherModels = [
        HostedModel(
            name: "phi3", aliases: ["phi"], engine: "stdio", state: "ready", contextLength: 4_096,
            file: ModelFile(bytes: 2_390_000_000, quantization: "Q4_K_M")),
        HostedModel(name: "big", engine: "stdio", state: "starting"),
    ]

    private static let threeHosts = [
        HostReport(
            id: ownID, isSelf: true, name: "attic", address: NetworkAddress(host: "192.168.1.10", port: 8_080),
            state: .alive, lastSeen: 1_705_314_605_000, version: "0.0.0-test",
            models: [HostedModel(name: "igris-recall", engine: "builtin", state: "ready", contextLength: 512)],
            swarm: swarmID),
        HostReport(
            id: otherID, name: "kitchen", address: NetworkAddress(host: "192.168.1.11", port: 8_081), state: .alive,
            lastSeen: 1_705_314_600_000, roundTrip: .microseconds(1_234), behind: 3, ahead: 1, isCompared: true,
            version: "0.0.0-test",
            models: otherModels, channels: [.mdns, .multicast], swarm: swarmID, clockSkew: .seconds(-2)),
        HostReport(
            id: strangerID, name: "office", address: NetworkAddress(host: "192.168.1.12", port: 8_080),
            state: .foreign, whyNot: "it holds another swarm key: run igris-runtime swarm join there",
            lastSeen: 1_705_314_600_000, channels: [.multicast]),
    ]

    private func note(_ deed: String) throws {
        try state.withLock { state in
            state.deeds.append(deed)
            if let refusal = state.refusal { throw refusal }
        }
    }

    var deeds: [String] { state.withLock { $0.deeds } }

    /// Returns whether anyone listened.
    func tell(_ event: SwarmEvent) -> Bool {
        state.withLock { state in
            for listener in state.listeners { listener.yield(event) }
            return !state.listeners.isEmpty
        }
    }

    // MARK: SwarmServices

    func hosts() async -> [HostReport] { state.withLock { $0.hosts } }
    func swarmStatus() async -> SwarmReport { state.withLock { $0.status } }
    func links() async -> [LinkReport] { state.withLock { $0.links } }
    func diagnose() async -> [DiagnosticCheck] { state.withLock { $0.checks } }

    func swarmEvents() async -> AsyncStream<SwarmEvent> {
        let (stream, continuation) = AsyncStream<SwarmEvent>.makeStream()
        state.withLock { $0.listeners.append(continuation) }
        return stream
    }

    func join(_ address: NetworkAddress) async throws { try note("join \(address)") }
    func evict(_ node: NodeID) async throws { try note("evict \(node)") }

    func rotateKey(force: Bool) async throws -> RotationReport {
        try note("rotate \(force)")
        return RotationReport(
            phase: .install, from: Self.swarmID, to: SwarmID(Bytes16(high: 8, low: 8)), confirmed: [Self.ownID],
            waiting: [Self.otherID])
    }

    func deleteConversation(
        _ id: ConversationID, of caller: Owner, patience: Duration
    ) async throws -> DeletionReport {
        try note("delete \(id) of \(caller) within \(patience)")
        return DeletionReport(confirmed: [Self.ownID], pending: [Self.otherID])
    }

    func makeSnapshot() async throws -> SnapshotManifest {
        try note("snapshot")
        let bytes = state.withLock { $0.snapshot.count }
        return SnapshotManifest(
            id: Self.snapshotID, bytes: bytes, partBytes: 1_024,
            parts: (0..<(bytes + 1_023) / 1_024).map { _ in [UInt8](repeating: 1, count: 32) }, operations: 5,
            vector: vectorNow)
    }

    func snapshotLength(_ id: Bytes16) async throws -> Int {
        guard id == Self.snapshotID else { throw RuntimeError(.notFound, "the snapshot is gone; ask for a new one") }
        return state.withLock { $0.snapshot.count }
    }

    func snapshotBytes(_ id: Bytes16, _ range: Range<Int>, to peer: NodeID) async throws -> [UInt8] {
        try note("bytes \(range)")
        return state.withLock { Array($0.snapshot[range]) }
    }

    func vector() async -> VersionVector { vectorNow }

    private var vectorNow: VersionVector {
        var vector = VersionVector()
        vector[Origin(node: Self.ownID, epoch: 2)] = 12
        return vector
    }
}

extension PeerDoor {
    /// A door without TLS: whoever sends the byte with which TLS begins has `certificate`.
    static func scripted(_ certificate: PeerCertificate?, denied: Bool = false) -> PeerDoor {
        PeerDoor { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandler(FirstByteSwallower(), position: .first)
                return certificate
            }
        } isName: { _ in
            true
        } isDenied: { _ in
            denied
        } takeLink: { _, _, _ in
            []
        }
    }

    static let member = PeerCertificate(
        node: ScriptedSwarm.otherID, publicKey: [UInt8](repeating: 1, count: 32), swarm: ScriptedSwarm.swarmID)
}

private final class FirstByteSwallower: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    private var isFirst = true

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var buffer = Self.unwrapInboundIn(data)
        if isFirst { buffer.moveReaderIndex(forwardBy: 1) }
        isFirst = false
        context.fireChannelRead(Self.wrapInboundOut(buffer))
    }
}
