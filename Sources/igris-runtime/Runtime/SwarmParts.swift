import Core
import Cryptography
import Gateway
import Logging
import Node
import Peering
import ServiceLifecycle
import Settings
import Store
import Swarm
import Telemetry

/// This host among its peers, from the moment it listens until the shutdown.
struct SwarmParts: Service {
    let node: SwarmNode
    let door: PeerDoor
    /// The others' engines for this host, and this host's for them.
    let work: SharedWork
    /// The answers that are written for clients of this host, and those it stands by for.
    let answers: LiveAnswers
    let transport: any PeerTransport
    /// Takes the port that the gateway listens on.
    let listening: AsyncStream<Int>.Continuation
    /// This run of this host.
    let instance: InstanceID
    private let ports: AsyncStream<Int>
    private let announcement: Announcement

    /// Nil where nothing is shared (`mcp.enabled` is false, or the store cannot be read).
    static func make(
        settings: Settings, storage: Storage, models: Models, routes: Routes, writer: LogWriter,
        conversations: Conversations,
        folder: StateFolder, clock: HostClock, log: Logger
    ) throws -> SwarmParts? {
        guard settings.mcp.enabled, storage.store.refusal == nil else { return nil }
        let identity = storage.identity
        let rotation = try KeyRotation(
            node: identity.node, root: storage.ring.root, saved: try storage.ring.load())
        let accepted = AcceptedKeys([rotation.primary])
        guard let swarm = rotation.primary.swarm else { throw RuntimeError(.internal, "a swarm's tag is too short") }
        let links = try PeerLinks(identity: identity.key, primary: rotation.primary.authority(of: swarm))
        let setup = try SwarmSetup(
            settings: settings, storage: storage, rotation: rotation, accepted: accepted, transport: links.transport,
            models: models, routes: routes, folder: folder, pressure: writer.pressure, clock: clock)
        if setup.security == .open {
            log.warning(
                """
                this host is open: everyone on this network may read and write its conversations (mcp.open); take it \
                out of the settings and share a key instead
                """)
        }
        let (ports, listening) = AsyncStream.makeStream(of: Int.self, bufferingPolicy: .bufferingNewest(1))
        let node = SwarmNode(setup, writer: writer, conversations: conversations, log: log)
        let answers = LiveAnswers(node: identity.node, living: { await node.living() })
        return SwarmParts(
            node: node, door: links.door,
            work: SharedWork(
                links.transport, node: node, models: models, answers: answers,
                balancing: settings.queue.moves ? routes : nil, log: log), answers: answers,
            transport: links.transport, listening: listening, instance: setup.instance, ports: ports,
            announcement: Announcement(
                node: setup.node, instance: setup.instance, swarm: swarm, security: setup.security,
                host: settings.server.host, port: settings.server.port, version: setup.version))
    }

    func run() async throws {
        await cancelWhenGracefulShutdown {
            for await port in ports {
                var announcement = announcement
                announcement.port = port
                await withDiscardingTaskGroup { group in
                    group.addTask { await work.run() }
                    await node.run(port: port, announcement: announcement)
                    group.cancelAll()
                }
                return
            }
        }
    }
}

extension SwarmSetup {
    init(
        settings: Settings, storage: Storage, rotation: KeyRotation, accepted: AcceptedKeys,
        transport: any PeerTransport, models: Models, routes: Routes, folder: StateFolder,
        pressure: Pressure?, clock: HostClock
    ) throws {
        let random = try SecureRandom.bytes(24)
        guard let instance = Bytes16(random), let seed = Bytes16(random.suffix(16)) else {
            throw RuntimeError(.internal, "random bytes are missing")
        }
        let host = settings.server.host
        let named = settings.node.capabilities
        let ring = storage.ring
        let diagnosis = PeerDiagnosis(
            subject: DoctorSubject(settings, folder: folder), node: storage.identity.node, ring: ring)
        self.init(
            node: storage.identity.node, instance: InstanceID(instance),
            name: settings.node.name ?? Storage.hostname(), version: IgrisRuntime.version,
            security: settings.mcp.open ? .open : .key, transport: transport,
            discovery: LANDiscovery(
                DiscoveryConfiguration(
                    mdns: settings.mcp.mdns, multicast: settings.mcp.multicast,
                    multicastPort: settings.mcp.multicastPort, seeds: settings.mcp.seeds),
                macKey: { accepted.discoveryKey(of: $0) }),
            seals: .ed25519(storage.identity.key), rotation: rotation, acceptedKeys: accepted,
            keepRing: { try ring.save($0, merge: KeyRotation.merge) }, snapshots: storage.store,
            models: { await models.statuses().map { $0.hosted(with: named) } },
            doctor: { await diagnosis.examine($0) },
            consultation: { try await diagnosis.desk.receive($0, from: $1, at: $2, heard: $3) },
            addresses: { ListeningAddresses.current(host: host, port: $0) }, wallClock: HostClock.machine,
            seed: seed.low,
            meshLimit: settings.mcp.meshLimit)
        heardClocks = { clock.heard($0) }
        settledClock = { clock.settled }
        zone = settings.node.zone ?? ""
        metAnotherMachine = { ring.markShared() }
        let place = settings.mcp.storagePath.lastIndex(of: "/").map { settings.mcp.storagePath[...$0] } ?? "."
        let disk = settings.mcp.persist ? String(place) : nil
        resources = { HealthWatch.Sample(MachineResources.current(diskOf: disk)) }
        loadTold = { routes.loadTold(by: $0) }
        let weight = settings.node.weight
        let processors = ProcessorShare()
        load = {
            let machine = MachineResources.current(diskOf: nil)
            var load = HostLoad(
                processor: processors.sinceLast() ?? 0,
                freeMemory: Double(machine.memoryFree ?? 0) / Double(max(1, machine.memorySize ?? 1)),
                weight: weight, models: await models.statuses().map(\.load))
            load.isDraining = models.drain.isOn || pressure?.isMemoryLow == true
            return load
        }
    }
}

extension HealthWatch.Sample {
    init(_ resources: MachineResources) {
        self.init(
            diskFree: resources.diskFree, diskSize: resources.diskSize, memoryFree: resources.memoryFree,
            memorySize: resources.memorySize)
    }
}
