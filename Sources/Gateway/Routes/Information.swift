import Core
import HTTPTypes
import Node

/// Everything that is answered from the node's state at once: health, status, models, contexts, metrics.
struct Information: Sendable {
    let node: any NodeServices
    let lifecycle: GatewayLifecycle
    let metricsPage: @Sendable () async -> String
    let logs: LogPages

    /// Nil where this host shares nothing (`mcp.enabled`).
    let swarm: (any SwarmServices)?
    let tls: TLSPages

    func reply(to route: Route, _ exchange: Exchange, caller: Owner) async throws -> Reply {
        switch route {
        case .banner: Reply(type: ContentType.text, body: Array("igris-runtime \(node.version) is running\n".utf8))
        case .document: Reply(type: "application/yaml", body: Documents.openAPI)
        case .live: Reply(["status": "ok"])
        case .health: await health()
        case .ready: await readiness()
        case .models: await modelList().reply
        case .model(let id): try await modelList().reply(for: id)
        case .contexts: try await contexts(exchange, caller)
        case .context(let id) where exchange.head.method == .delete: try await delete(id, exchange, caller)
        case .context(let id): try await context(id, caller)
        case .status: await status()
        case .metrics: Reply(type: "text/plain; version=0.0.4; charset=utf-8", body: Array(await metricsPage().utf8))
        case .logs: try logs.page(exchange)
        case .explain: try await explanation(exchange)
        case .chatCompletions, .openAI, .anthropic, .ollama, .swarm, .admin, .tokens, .auth, .store, .audit, .drain,
            .request:
            throw RuntimeError(.internal, "this route has a handler of its own")
        }
    }

    /// `{"on": true}` begins to give this host's work away, `false` ends that; without a body it is only told.
    func drain(_ exchange: Exchange, _ body: [UInt8]) async throws -> Reply {
        var isWanted: Bool?
        if exchange.head.method == .post {
            guard let on = try JSON.parse(body)["on"]?.bool else {
                throw RuntimeError(.invalidRequest, "on is required: true or false", parameter: "on")
            }
            isWanted = on
        }
        let report = await node.drain(on: isWanted)
        return Reply([
            "on": .bool(report.isOn), "running": .integer(Int64(report.running)),
            "waiting": .integer(Int64(report.waiting)),
        ])
    }

    private func explanation(_ exchange: Exchange) async throws -> Reply {
        guard let model = try exchange.queryItems().first(where: { $0.name == "model" })?.value, !model.isEmpty else {
            throw RuntimeError(
                .invalidRequest, "name the model that is asked: /v1/route/explain?model=NAME", parameter: "model")
        }
        return Reply(try await node.explainRoute(of: model).json)
    }

    private func modelList() async -> ModelList {
        let hosts = await swarm?.hosts() ?? []
        let shown = hosts.map { host in
            var host = host
            host.models.removeAll { !ModelScope.allows([$0.name] + $0.aliases) }
            return host
        }
        return ModelList(models: await node.models(), hosts: shown, created: lifecycle.startedAt)
    }

    // MARK: Health

    private func ready() async -> Readiness {
        var readiness = await node.readiness()
        if lifecycle.draining.isOpen {
            readiness.isReady = false
            readiness.reasons.append("this host is shutting down; send new requests elsewhere")
        }
        return readiness
    }

    private func readiness() async -> Reply {
        let readiness = await ready()
        return Reply(
            status: readiness.isReady ? .ok : .serviceUnavailable,
            ["status": readiness.isReady ? "ready" : "not_ready", "reasons": readiness.reasons.json])
    }

    /// 200 as long as the process answers; whether it is of use stands in the body.
    private func health() async -> Reply {
        let readiness = await ready()
        let word: JSON = readiness.isReady ? (readiness.reasons.isEmpty ? "ok" : "degraded") : "not_ready"
        return Reply(["status": word, "ready": .bool(readiness.isReady), "reasons": readiness.reasons.json])
    }

    /// What `igris-runtime status` prints.
    private func status() async -> Reply {
        let readiness = await ready()
        await node.measureModels()
        let models = await node.models().map { model in
            var object = JSON.Object()
            object["name"] = .string(model.name)
            object["aliases"] = model.aliases.json
            for member in model.statusFields.members { object[member.key] = member.value }
            return JSON.object(object)
        }
        let store: JSON
        do {
            let statistics = try await node.storeStatistics()
            var sizes = JSON.Object()
            sizes["conversations"] = .integer(Int64(statistics.conversations))
            sizes["operations"] = .integer(Int64(statistics.operations))
            sizes["bytes"] = .integer(Int64(statistics.bytes))
            if let expired = statistics.expired { sizes["expired"] = .integer(Int64(expired)) }
            store = .object(sizes)
        } catch {
            store = ["error": .string(APIError(error).message)]
        }
        return Reply([
            "id": .string(node.id.description), "version": .string(node.version),
            "uptime_seconds": .integer(lifecycle.uptime.components.seconds),
            "ready": .bool(readiness.isReady), "draining": .bool(lifecycle.draining.isOpen),
            "reasons": readiness.reasons.json, "models": .array(models), "store": store,
            "swarm": await swarm?.swarmStatus().json ?? .null, "tls": tls.status,
        ])
    }

    // MARK: Contexts

    private static let contextsShown = (usual: 100, most: 1_000)

    private func contexts(_ exchange: Exchange, _ caller: Owner) async throws -> Reply {
        var limit = Self.contextsShown.usual
        if let text = exchange.query("limit") {
            guard let number = Int(text), (1...Self.contextsShown.most).contains(number) else {
                throw RuntimeError(
                    .invalidRequest, "limit must be a whole number from 1 to \(Self.contextsShown.most)",
                    parameter: "limit")
            }
            limit = number
        }
        let headers = try await node.conversations(of: caller, limit: limit)
        return Reply(["object": "list", "data": .array(headers.map { .object(Self.fields($0)) })])
    }

    private func context(_ text: String, _ caller: Owner) async throws -> Reply {
        guard let id = ConversationID(text) else { throw RuntimeError(.notFound, "there is no such conversation") }
        let view = try await node.conversation(id, of: caller)
        var object = Self.fields(view.header)
        object["messages"] = .array(view.turns.map(Self.message))
        object["branches"] = .integer(Int64(view.branches))
        object["digest"] = .string(view.digest)
        var reply = Reply(.object(object))
        reply.headers[.conversationID] = id.rawValue
        return reply
    }

    private static let deletionWait = (usual: 2, most: 30)

    /// Deletes a conversation everywhere. The reply tells who has done it by then; `wait` is how many seconds the
    /// others are given.
    private func delete(_ text: String, _ exchange: Exchange, _ caller: Owner) async throws -> Reply {
        guard let swarm, let id = ConversationID(text) else {
            throw RuntimeError(.notFound, "there is no such conversation")
        }
        var wait = Self.deletionWait.usual
        if let text = exchange.query("wait") {
            guard let number = Int(text), (0...Self.deletionWait.most).contains(number) else {
                throw RuntimeError(
                    .invalidRequest, "wait must be a whole number of seconds from 0 to \(Self.deletionWait.most)",
                    parameter: "wait")
            }
            wait = number
        }
        let report = try await swarm.deleteConversation(id, of: caller, patience: .seconds(wait))
        return Reply(report.json(of: id))
    }

    private static func fields(_ header: ConversationHeader) -> JSON.Object {
        var object = JSON.Object()
        object["id"] = .string(header.id.rawValue)
        object["object"] = "context"
        object["created"] = .integer(header.created.seconds)
        object["updated"] = .integer(header.updated.seconds)
        object["turns"] = .integer(Int64(header.turns))
        return object
    }

    private static func message(_ turn: ConversationTurn) -> JSON {
        var object = JSON.Object()
        object["id"] = .string(turn.dot.description)
        object["role"] = .string(turn.turn.message.role.rawValue)
        object["content"] = .string(turn.turn.message.text)
        object["created"] = .integer(turn.timestamp.seconds)
        var status = "complete"
        if let outcome = turn.turn.outcome {
            object["finish_reason"] = .string(outcome.finishReason.rawValue)
            object["model"] = .string(outcome.model)
            if outcome.finishReason == .aborted || outcome.finishReason == .failed {
                status = outcome.finishReason.rawValue
            }
        }
        object["status"] = .string(status)
        return .object(object)
    }
}

extension [String] {
    fileprivate var json: JSON { .array(map { .string($0) }) }
}
