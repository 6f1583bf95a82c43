import Core
import Guardian
import HummingbirdCore
package import Logging
import NIOCore
import NIOPosix
package import Node
import ServiceLifecycle

/// The HTTP face of this host: one TCP port, HTTP/1.1, every dialect (wire.md).
package struct Gateway: Service {
    private let configuration: GatewayConfiguration
    private let channel: GatewayChannel
    private let lifecycle = GatewayLifecycle()
    private let log: Logger
    private let onListening: @Sendable (_ host: String, _ port: Int) -> Void

    /// - Parameters:
    ///   - swarm: nil where this host shares nothing.
    ///   - models: nil where this host keeps no model files.
    ///   - requests, capacity: nil where this host shares nothing.
    ///   - tokens: nil where this host keeps no tokens of clients.
    ///   - sessions: nil where there are none for signed nonces.
    ///   - audit: nil where this host keeps no audit log.
    ///   - door: TLS and links with the hosts of the swarm.
    ///   - clientDoor: TLS with clients.
    ///   - metricsPage: the text of `GET /metrics`.
    ///   - logged: what `GET /v1/logs` shows.
    ///   - store: what an operator may ask of the store.
    ///   - onListening: called once connections are taken, with the address and the port that the system gave.
    package init(
        configuration: GatewayConfiguration, node: any NodeServices, swarm: (any SwarmServices)? = nil,
        models: (any ModelServices)? = nil, requests: (any RequestServices)? = nil,
        capacity: Capacity? = nil, tokens: AccessTokens? = nil,
        sessions: AuthSessions? = nil, audit: AuditLog? = nil,
        door: PeerDoor? = nil, clientDoor: ClientDoor? = nil,
        metricsPage: @escaping @Sendable () async -> String = { "" }, logged: GatewayLog = .none,
        store: GatewayStore = .none, log: Logger,
        onListening: @escaping @Sendable (_ host: String, _ port: Int) -> Void = { _, _ in }
    ) {
        self.configuration = configuration
        self.log = log
        self.onListening = onListening
        let metrics = GatewayMetrics()
        let node = ModelGate(node: node)
        let link = SwarmLink(door: door)
        let flow = AnswerFlow(
            node: node, metrics: metrics, limits: configuration.limits,
            progressed: { [lifecycle] in lifecycle.progressed() })
        let responder = Responder(
            admission: Admission(
                hosts: HostRule(allowedHosts: configuration.allowedHosts),
                rule: AccessRule(
                    keys: ClientKeys(configuration.keys), network: configuration.networkAccess,
                    allowed: configuration.addressAllowlist, certificates: configuration.certificates,
                    requiresTLS: configuration.requiresTLS,
                    required: configuration.required, zones: configuration.zones), tokens: tokens,
                rates: RateGate(perAddress: configuration.requestsPerAddress),
                machine: MachineNamesCache(), link: link, sessions: sessions),
            openAI: OpenAIResponder(flow: flow, swarm: swarm), anthropic: AnthropicResponder(flow: flow),
            ollama: OllamaResponder(flow: flow, startedAt: lifecycle.startedAt),
            information: Information(
                node: node, lifecycle: lifecycle, metricsPage: metricsPage, logs: LogPages(source: logged),
                swarm: swarm, tls: TLSPages(door: clientDoor, isRequired: configuration.requiresTLS)),
            swarm: swarm.map { [lifecycle] in
                SwarmResponder(
                    swarm: $0, node: node, models: models, requests: requests, capacity: capacity,
                    lifecycle: lifecycle,
                    limits: configuration.limits)
            }, models: ModelPages(models: models, draining: lifecycle.draining),
            requests: RequestPages(
                requests: requests, gate: node, draining: lifecycle.draining, limits: configuration.limits),
            tokens: TokenPages(tokens: tokens), auth: AuthPages(sessions: sessions), store: StorePages(store: store),
            audit: audit, link: link,
            metrics: metrics, lifecycle: lifecycle,
            nodeID: node.id,
            log: log)
        channel = GatewayChannel(
            responder: responder, ledger: ConnectionLedger(limits: configuration.limits), limits: configuration.limits,
            doors: Doors(peer: door, client: clientDoor))
    }

    /// Serves until the task is cancelled, or until graceful shutdown is done: from the signal on `/readyz` says 503
    /// and no new chat is begun, while those that run may end. After ``Limits/drain`` what still runs is cut off, and
    /// before that when nothing of it has moved for ``Limits/drainQuiet``: its engine hangs. The port stays open until
    /// then, so that whoever asks for readiness is told, and not left at a closed door.
    ///
    /// - Throws: ``RuntimeError`` `.configuration` when the address cannot be listened on.
    package func run() async throws {
        // The server's own start message says less than ours.
        var quiet = log
        quiet.logLevel = max(log.logLevel, .warning)
        let server = Server(
            childChannelSetup: channel,
            configuration: ServerConfiguration(
                address: .hostname(configuration.host, port: configuration.port), backlog: 1_024),
            onServerRunning: { [onListening, configuration, ledger = self.channel.ledger] channel in
                await AcceptPause.add(to: channel) { ledger.isFull }
                onListening(configuration.host, channel.localAddress?.port ?? configuration.port)
            },
            eventLoopGroup: MultiThreadedEventLoopGroup.singleton, logger: quiet)
        // Each says whether all is over with it.
        try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask {
                try await serve(server)
                return true
            }
            group.addTask { try await drain(server) }
            if let path = configuration.adminSocket {
                let socket = AdminSocket(path: path, channel: channel, log: quiet)
                group.addTask {
                    await socket.run()
                    return false
                }
            }
            defer { group.cancelAll() }
            while try await group.next() == false {}
        }
    }

    private func serve(_ server: Server<GatewayChannel>) async throws {
        // Detached, and cancelled with this one: the server would see the shutdown in its task and close the port.
        let running = Task.detached { try await server.run() }
        do {
            try await withTaskCancellationHandler {
                try await running.value
            } onCancel: {
                running.cancel()
            }
        } catch let error as IOError {
            throw Self.cannotListen(on: configuration, error)
        } catch let error as SocketAddressError.UnknownHost {
            throw RuntimeError(
                .configuration,
                "\(configuration.host) is no name that this machine knows; choose an address of it with --host or "
                    + "server.host", cause: error)
        }
    }

    /// Waits for the shutdown, then for the open requests. Returns whether some of them are to be cut off; where none
    /// is, the server ends by itself once the last connection that it serves has.
    private func drain(_ server: Server<GatewayChannel>) async throws -> Bool {
        // Every wait here ends by cancellation when the server is done first.
        try await gracefulShutdown()
        lifecycle.draining.open()
        let deadline = ContinuousClock.now + configuration.limits.drain
        var quietUntil = ContinuousClock.now + configuration.limits.drainQuiet
        var progress = lifecycle.progress
        // Looking again now and then is simpler than being told, and happens once in a daemon's life.
        while lifecycle.openRequests > 0, ContinuousClock.now < min(deadline, quietUntil) {
            try await Task.sleep(for: .milliseconds(20))
            guard lifecycle.progress != progress else { continue }
            progress = lifecycle.progress
            quietUntil = ContinuousClock.now + configuration.limits.drainQuiet
        }
        if lifecycle.openRequests > 0 {
            log.notice(
                "requests still running are cut off", metadata: ["requests.open": "\(lifecycle.openRequests)"])
            return true
        }
        // Not to be waited for: it returns once every connection is closed that was ever accepted, and one that comes
        // while the port is being closed may get neither anybody to serve it nor an end.
        Task.detached { try await server.shutdownGracefully() }
        return false
    }

    private static func cannotListen(on configuration: GatewayConfiguration, _ error: IOError) -> RuntimeError {
        let reason =
            switch error.errnoCode {
            case EADDRINUSE:
                "port \(configuration.port) is in use by another program; stop that one, or choose another port with "
                    + "--port or server.port"
            case EACCES:
                "port \(configuration.port) may not be used without rights; choose one above 1023 with --port or "
                    + "server.port"
            case EADDRNOTAVAIL:
                "\(configuration.host) is not an address of this machine; choose another with --host or server.host"
            default:
                "cannot listen on \(configuration.host) port \(configuration.port)"
            }
        return RuntimeError(.configuration, reason, cause: error)
    }
}
