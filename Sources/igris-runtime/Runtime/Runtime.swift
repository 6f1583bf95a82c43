import Core
import Cryptography
import Gateway
import Glibc
import Guardian
import Logging
import Node
import ServiceLifecycle
import Settings
import Store
import Swarm
import Telemetry
import UnixSignals

/// Joins the rooms into one daemon. It decides nothing itself.
struct Runtime {
    private let settings: Settings
    private let environment: [String: String]

    init(settings: Settings, environment: [String: String]) {
        self.settings = settings
        self.environment = environment
    }

    /// Serves until a signal ends it. Throws ``RuntimeError`` when it cannot start.
    func run() async throws {
        // A closed pipe is told by `write`, not by a signal that ends the daemon.
        signal(SIGPIPE, SIG_IGN)
        // Other daemons do something at these; here a stray one must not be the end.
        signal(SIGUSR1, SIG_IGN)
        signal(SIGUSR2, SIG_IGN)
        let descriptors = Self.raiseDescriptorLimit()
        let manager = ServiceManager(environment: environment)
        let registry = PrometheusRegistry.start(version: IgrisRuntime.version, descriptions: MetricsPage.descriptions)
        let ring = LogRing()
        let log = Self.startLog(settings.log, ring)
        for notice in settings.notices { log.notice("\(notice)") }

        try ListeningAddress(host: settings.server.host, port: settings.server.port).requireFree()
        let folder = try StateFolder(environment: environment)
        let storage = try await Storage.open(settings: settings, folder: folder, log: log)
        let modelFolder = Self.modelFolder(settings, folder, log)
        let files = ModelFiles(folder: modelFolder, log: log)
        let places = folder.socketPlaces(environment: environment)
        let exchange = WorkerExchange(settings.rpcWorker)
        let models = Models(
            [], loaded: LoadedModels(budget: MemoryBudget.bytes(settings), log: log),
            queue: QueuedEngine.Policy(length: settings.queue.length, patience: settings.queue.patience))
        for model in settings.models {
            let file = WatchedModelFile(model)
            try await models.add(
                name: model.name, aliases: model.aliases, kind: model.engine.rawValue,
                making: try EngineEntry.make(model, socketPlaces: places, exchange: exchange, log: log),
                file: { file?.file }, fallback: model.fallback)
            if let file { files.add(file, of: model.name) }
        }
        let clock = HostClock()
        let wallClock: @Sendable () -> UInt64 = { clock.now }
        let writer = LogWriter(
            store: storage.store, seals: .ed25519(storage.identity.key), durability: Self.durability(settings.context),
            pressure: PressureService.pressure(settings, log: log), log: log, wallClock: wallClock)
        await writer.recover()
        if let failure = await writer.failure {
            log.error("conversations are not kept", metadata: ["reason": "\(failure.message)"])
        }
        let conversations = Conversations(
            store: storage.store, writer: writer, prefixKey: storage.prefixKey, policy: Self.policy(settings.mcp),
            retention: Retention(age: settings.context.retention, maxBytes: settings.context.maxBytes))
        let routes = Routes(
            Router(
                RoutingAlgorithm(rawValue: settings.routing.algorithm.rawValue) ?? .auto,
                seed: storage.identity.node.bytes.low ^ wallClock()))
        let swarm = try SwarmParts.make(
            settings: settings, storage: storage, models: models, routes: routes, writer: writer,
            conversations: conversations,
            folder: folder, clock: clock, log: log)
        let library = modelFolder.map {
            ModelLibrary(folder: $0, models: models, files: files, swarm: swarm?.node, log: log) {
                try EngineEntry.make($0, socketPlaces: places, exchange: exchange, log: log)
            }
        }
        await library?.restore()
        func makeDispatcher(takesUp: Bool) -> Dispatcher {
            Dispatcher(
                node: storage.identity.node, models: models, hosts: { await swarm?.node.hosts() ?? [] },
                candidates: { await swarm?.node.candidates(for: $0) ?? [] },
                links: swarm?.work.links, routes: routes, takesUp: takesUp)
        }
        let dispatcher = makeDispatcher(takesUp: settings.routing.failover)
        let node = LocalNode(
            id: storage.identity.node, version: IgrisRuntime.version, models: models, conversations: conversations,
            writer: writer, store: storage.store, log: log, wallClock: wallClock, dispatcher: dispatcher,
            live: settings.routing.failover ? swarm?.answers : nil)
        if let swarm, settings.routing.failover {
            await swarm.answers.open(swarm.work.links)
            await swarm.answers.desk.open { await node.takeUp($0) }
        }
        let requests = swarm.map { swarm in
            Requests(
                node: storage.identity.node, instance: swarm.instance, conversations: conversations, writer: writer,
                dispatcher: dispatcher, alone: makeDispatcher(takesUp: false), members: { await swarm.node.hosts() },
                wallClock: wallClock, log: log)
        }

        // They are operations of the log: without one there are none.
        let tokens =
            settings.mcp.enabled
            ? AccessTokens(
                writer: writer, store: storage.store, members: { await swarm?.node.hosts() ?? [] },
                wallClock: wallClock, log: log) : nil
        await tokens?.readAll()
        let audit =
            settings.mcp.enabled
            ? AuditLog(
                node: storage.identity.node, writer: writer, store: storage.store, wallClock: wallClock, log: log)
            : nil

        let clientTLS = try ClientTLSService.make(settings, folder, now: Int64(wallClock() / 1_000), log: log)
        let capacity = swarm.map { swarm in
            Capacity(
                node: storage.identity.node, window: settings.scaling.window,
                loads: { await swarm.node.livingLoads() }, hook: ScalingHook(settings.scaling, log: log)?.tell, log: log
            )
        }

        var configuration = GatewayConfiguration(settings)
        // The store, the peers and the engines need some too.
        configuration.limits.connections = min(Limits.connections, max(64, descriptors - Limits.reservedDescriptors))
        configuration.adminSocket = AdminSocketPlace(folder: folder, port: settings.server.port)?.path
        let gateway = Gateway(
            configuration: configuration, node: node, swarm: swarm?.node, models: library,
            requests: requests, capacity: capacity, tokens: tokens,
            sessions: AuthSessions(
                node: node.id, keys: ClientKeys(configuration.keys), agents: try GatewayConfiguration.agents(settings),
                tokens: tokens, wallClock: wallClock), audit: audit, door: swarm?.door,
            clientDoor: clientTLS?.door,
            metricsPage: {
                await MetricsPage(registry: registry, node: node, swarm: swarm?.node, store: storage.store).text()
            },
            logged: GatewayLog { after, limit in
                let page = ring.page(after: after, limit: limit)
                return (page.events, page.next, page.hasLost)
            }, store: GatewayStore(storage), log: log,
            onListening: { host, port in
                log.notice(
                    "listening",
                    metadata: ["server.host": "\(host)", "server.port": "\(port)", "node.id": "\(node.id)"])
                swarm?.listening.yield(port)
                manager?.tellReady("listening on \(host) port \(port)")
            })
        // Engines start while the gateway already answers health checks.
        var members: [ServiceGroupConfiguration.ServiceConfiguration] = [.init(service: EngineService(models: models))]
        members.append(.init(service: files))
        if let pressure = writer.pressure {
            members.append(.init(service: PressureService(pressure: pressure, writer: writer)))
        }
        if let audit { members.append(.init(service: AuditService(audit: audit))) }
        if let tokens { members.append(.init(service: TokenService(tokens: tokens))) }
        if let clientTLS { members.append(.init(service: clientTLS)) }
        if let swarm {
            members.append(.init(service: swarm))
            if let capacity { members.append(.init(service: CapacityService(capacity: capacity))) }
            if let requests { members.append(.init(service: RequestService(requests: requests))) }
            members.append(.init(service: exchange.joined(swarm, log: log)))
        }
        members.append(.init(service: gateway, successTerminationBehavior: .gracefullyShutdownGroup))
        let services = ServiceGroup(
            configuration: ServiceGroupConfiguration(services: members, gracefulShutdownSignals: [], logger: log))
        try await Self.run(
            services,
            goodbye: {
                manager?.tellStopping()
                models.drain.turn(on: true)
                await swarm?.node.sayGoodbye()
            },
            watch: { try await manager?.keepWatch { _ = await node.readiness() } }, log: log)
        await Self.settle(node)
        await storage.store.close()
        log.notice("stopped")
    }

    /// Where this host keeps model files. Without it those of the configuration are served all the same.
    private static func modelFolder(_ settings: Settings, _ folder: StateFolder, _ log: Logger) -> ModelFolder? {
        do {
            return try ModelFolder(path: "\(folder.identityFolder(forStoreAt: settings.mcp.storagePath))/models")
        } catch {
            log.error("no models can be added to this host", metadata: ["error": "\(error)"])
            return nil
        }
    }

    /// Waits until what had been answered is kept; not for ever, should something hold on to an answer.
    private static func settle(_ node: LocalNode) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await node.settle() }
            group.addTask { try? await Task.sleep(for: .seconds(2)) }  // cancelled once the node has settled
            await group.next()
            group.cancelAll()
        }
    }

    /// Connections are descriptors: as many as the system grants, not the few that a shell gives by default. Returns how
    /// many those are.
    private static func raiseDescriptorLimit() -> Int {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1_024 }
        let granted = limit.rlim_cur
        limit.rlim_cur = limit.rlim_max
        let isRaised = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0
        return Int(clamping: isRaised ? limit.rlim_max : granted)
    }

    /// The first signal ends the daemon in good order, the second at once: what is acknowledged is on disk anyway.
    private static func run(
        _ services: ServiceGroup, goodbye: @escaping @Sendable () async -> Void,
        watch: @escaping @Sendable () async throws -> Void, log: Logger
    ) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                var count = 0
                for await signal in await UnixSignalsSequence(trapping: .sigterm, .sigint, .sighup) {
                    count += 1
                    if count > 1 { _exit(128 + (signal == .sigint ? SIGINT : SIGTERM)) }
                    log.notice("stopping; a second signal ends at once", metadata: ["signal": "\(signal)"])
                    await goodbye()
                    await services.triggerGracefulShutdown()
                }
            }
            group.addTask {
                // Also while it stops. Nothing of it may end the daemon.
                try? await watch()
                try? await Task.sleep(for: .seconds(Int64(Int32.max)))
            }
            group.addTask { try await services.run() }
            // The others never end by themselves: whatever comes first is the services' end.
            try await group.next()
            group.cancelAll()
        }
    }

    private static func policy(_ settings: Settings.MCP) -> Conversations.Policy {
        guard settings.enabled else { return .never }
        return settings.defaultConversation == .shared ? .always : .named
    }

    private static func durability(_ settings: Settings.Context) -> LogWriter.Durability {
        switch settings.durability {
        case .first: .first
        case .fsync: .fsync
        case .quorum: .quorum
        }
    }

    private static func startLog(_ settings: Settings.Log, _ ring: LogRing) -> Logger {
        LineLogHandler.bootstrap(level: settings.level.rawValue, format: settings.format.rawValue, ring: ring)
        return Logger(label: "igris")
    }
}
