import Core
import Guardian
import HTTPTypes
import Logging
import NIOCore
import NIOHTTPTypes
import Node

/// Takes each request from its head to its last byte: admission, body, route, reply.
struct Responder: Sendable {
    typealias Parts = NIOAsyncChannelInboundStream<HTTPRequestPart>.AsyncIterator

    let admission: Admission
    let openAI: OpenAIResponder
    let anthropic: AnthropicResponder
    let ollama: OllamaResponder
    let information: Information
    /// Nil where this host shares nothing.
    let swarm: SwarmResponder?
    let models: ModelPages
    let requests: RequestPages
    let tokens: TokenPages
    let auth: AuthPages
    let store: StorePages
    let audit: AuditLog?
    let link: SwarmLink
    let metrics: GatewayMetrics
    let lifecycle: GatewayLifecycle
    let nodeID: NodeID
    let log: Logger
    private let clock = HTTPDate()

    init(
        admission: Admission, openAI: OpenAIResponder, anthropic: AnthropicResponder, ollama: OllamaResponder,
        information: Information, swarm: SwarmResponder?, models: ModelPages, requests: RequestPages,
        tokens: TokenPages, auth: AuthPages, store: StorePages, audit: AuditLog?, link: SwarmLink,
        metrics: GatewayMetrics,
        lifecycle: GatewayLifecycle,
        nodeID: NodeID,
        log: Logger
    ) {
        self.admission = admission
        self.openAI = openAI
        self.anthropic = anthropic
        self.ollama = ollama
        self.information = information
        self.swarm = swarm
        self.models = models
        self.requests = requests
        self.tokens = tokens
        self.auth = auth
        self.store = store
        self.audit = audit
        self.link = link
        self.metrics = metrics
        self.lifecycle = lifecycle
        self.nodeID = nodeID
        self.log = log
    }

    /// Answers one request. Returns when the response is written; `body` then stands behind the request unless the
    /// reply closes the connection. Throws when the client has gone.
    func respond(
        to head: HTTPRequest, from client: ClientConnection, body: inout Parts, _ outbound: LoopWriter
    ) async throws {
        let exchange = Exchange(head: head, client: client, log: log)
        let route = Route(path: exchange.path)
        metrics.inFlight(lifecycle.requestBegan())
        var status = 499  // nginx's word for a client that left before its answer
        defer {
            metrics.inFlight(lifecycle.requestEnded())
            metrics.ended(
                route: route?.pattern ?? "unknown", method: head.method, status: status, after: exchange.elapsed)
            // Who follows the log would otherwise be told of nothing but that.
            if log.logLevel <= .debug, route != .logs {
                exchange.log.debug(
                    "request",
                    metadata: [
                        "http.method": "\(head.method.rawValue)", "http.route": "\(route?.pattern ?? "unknown")",
                        "http.status": "\(status)", "duration": "\(exchange.elapsed)",
                    ])
            }
        }
        var common = commonHeaders(exchange)
        var isBodyRead = false
        var identity: Identity?
        var denial: APIError?
        var target = route?.target
        // A page that may not use this host may not read why, either.
        let refusal = checkHost(exchange)
        if refusal == nil { common = common + CrossOrigin.headers(origin: head.headerFields[.origin]) }
        let writer = ReplyWriter(outbound, common: common, isHead: head.method == .head)
        defer {
            status = writer.begun?.code ?? status
            AuditTrail(log: audit).ended(
                exchange, route: route, identity: identity, refusal: denial, target: target, status: status)
        }
        do {
            if let refusal { throw refusal }
            if head.method == .options, let route {
                _ = try await collect(&body, exchange, limit: 0, outbound)
                isBodyRead = true
                return try await writer.send(CrossOrigin.preflight(head, methods: route.methods))
            }
            let access = route?.access ?? Access(ofUnknown: exchange.path)
            let admitted = try admission.admit(exchange, to: access)
            identity = admitted
            let lease = try TokenLease(admitted, admission.tokens, client)
            defer { lease?.end() }
            let route = try supported(route, exchange)
            if route.infers(head.method) {
                if lifecycle.draining.isOpen { throw APIError.draining }
                try information.node.pressure?.requireMemory()
            }
            let decoder = try BodyDecoder(exchange.hasBody ? head.headerFields[.contentEncoding] : nil)
            let packed = try await collect(&body, exchange, limit: route.bodyLimit, outbound)
            isBodyRead = true
            if access == .admin, audit != nil { target = target ?? AuditTrail.target(packed) }
            if route.infers(head.method), packed.count <= Self.smallBody {
                try await answer(route, exchange, admitted, try decoder.decode(packed, limit: route.bodyLimit), writer)
            } else {
                // What takes long must not hold up the other connections of this loop.
                try await withTaskExecutorPreference(globalConcurrentExecutor) {
                    try await answer(
                        route, exchange, admitted, try decoder.decode(packed, limit: route.bodyLimit), writer)
                }
            }
        } catch let error where writer.begun == nil && !(error is CancellationError) && !client.isGone {
            let failure = failure(error, exchange)
            denial = failure
            var reply = Dialect(path: exchange.path).reply(failure, requestID: exchange.id)
            if !isBodyRead {
                // A body would have to be read to its end before the next request; a connection is cheaper.
                if exchange.hasBody {
                    reply.headers[.connection] = "close"
                } else {
                    _ = try await collect(&body, exchange, limit: 0, outbound)
                }
            }
            try await writer.send(reply)
        }
    }

    private func answer(
        _ route: Route, _ exchange: Exchange, _ identity: Identity, _ body: [UInt8], _ writer: ReplyWriter
    ) async throws {
        if case .auth(let route) = route {
            return try await writer.send(try auth.reply(to: route, exchange, identity, body: body))
        }
        let models = identity.token?.models ?? []
        guard !models.isEmpty else { return try await answer(route, exchange, identity.owner, body, writer) }
        try await ModelScope.$models.withValue(Set(models)) {
            try await answer(route, exchange, identity.owner, body, writer)
        }
    }

    private func answer(
        _ route: Route, _ exchange: Exchange, _ owner: Owner, _ body: [UInt8], _ writer: ReplyWriter
    ) async throws {
        switch route {
        case .chatCompletions: try await openAI.chatCompletions(exchange, owner, body, writer)
        case .openAI(let route): try await openAI.respond(to: route, exchange, caller: owner, body: body, writer)
        case .anthropic(let route):
            try await anthropic.respond(to: route, exchange, caller: owner, body: body, writer)
        case .ollama(let route): try await ollama.respond(to: route, exchange, caller: owner, body: body, writer)
        case .drain: try await writer.send(try await information.drain(exchange, body))
        case .request(let route):
            try await requests.respond(to: route, exchange, caller: owner, body: body, writer)
        case .audit: try await writer.send(try await AuditPages(log: audit).page(exchange))
        case .store(let route): try await store.respond(to: route, exchange, body: body, writer)
        case .tokens(let route): try await writer.send(try await tokens.reply(to: route, exchange, body: body))
        case .admin(let route): try await models.respond(to: route, exchange, body: body, writer)
        case .swarm(.link(let purpose)): try await link.open(purpose, exchange, writer)
        case .swarm(let route):
            guard let swarm else { throw Self.noSwarm }
            try await swarm.respond(to: route, exchange, body: body, writer)
        default: try await writer.send(try await information.reply(to: route, exchange, caller: owner))
        }
    }

    /// Requests of so many bytes are read, and their prompts made, in less than a millisecond.
    private static let smallBody = 64 * 1024
    private static let noSwarm = APIError(
        404, code: "not_found",
        "this host shares nothing: mcp.enabled is false, or its store is locked (GET /v1/status)")

    // MARK: Admission

    private func checkHost(_ exchange: Exchange) -> RuntimeError? {
        do {
            try admission.checkHost(exchange)
            return nil
        } catch {
            return error
        }
    }

    private func supported(_ route: Route?, _ exchange: Exchange) throws -> Route {
        guard let route else { throw APIError(404, code: "not_found", "there is nothing at this path") }
        guard route.methods.contains(exchange.head.method) else {
            let list = (route.methods + [.options]).map(\.rawValue).joined(separator: ", ")
            throw APIError(
                405, code: "method_not_allowed", "this path takes \(list) only", headers: [("allow", list)])
        }
        return route
    }

    // MARK: Body

    private func collect(
        _ parts: inout Parts, _ exchange: Exchange, limit: Int, _ outbound: LoopWriter
    ) async throws -> [UInt8] {
        let headers = exchange.head.headerFields
        var tooLarge: RuntimeError {
            RuntimeError(.tooLarge, "the body is larger than the \(limit) bytes that this path takes")
        }
        let length = exchange.contentLength.flatMap { Int($0) } ?? 0
        if length > limit { throw tooLarge }
        if length > Limits.smallBodyBytes { try information.node.pressure?.requireMemory() }
        if exchange.hasBody, headers[.expect]?.lowercased() == "100-continue" {
            try await outbound.write(.head(HTTPResponse(status: .continue)))
        }
        var bytes: [UInt8] = []
        // What is announced may never come: a little is believed.
        bytes.reserveCapacity(min(length, 16_384))
        while let part = try await parts.next(isolation: #isolation) {
            switch part {
            case .body(let buffer):
                guard buffer.readableBytes <= limit - bytes.count else { throw tooLarge }
                if bytes.count > Limits.smallBodyBytes { try information.node.pressure?.requireMemory() }
                bytes.append(contentsOf: buffer.readableBytesView)
            case .end: return bytes
            case .head: throw CancellationError()
            }
        }
        // The client left in the middle of its request.
        throw CancellationError()
    }

    // MARK: Replies

    private func commonHeaders(_ exchange: Exchange) -> HTTPFields {
        var headers = HTTPFields()
        headers[.requestID] = exchange.id
        if Dialect(path: exchange.path) == .anthropic { headers[.anthropicRequestID] = exchange.id }
        headers[.date] = clock.now
        headers[.servedBy] = nodeID.description
        return headers
    }

    private func failure(_ error: any Error, _ exchange: Exchange) -> APIError {
        let failure = APIError(error)
        metrics.refused(failure)
        let metadata: Logger.Metadata = [
            "error": "\(error)", "http.status": "\(failure.status)",
            "client.address": "\(exchange.client.peer.map(\.description) ?? "unknown")",
        ]
        switch failure.status {
        case 401, 403: exchange.log.notice("access refused", metadata: metadata)
        case 500...: exchange.log.error("request failed", metadata: metadata)
        default: exchange.log.debug("request refused", metadata: metadata)
        }
        return failure
    }
}
