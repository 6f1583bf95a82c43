import Core
import HTTPTypes
import Node

/// The routes about the swarm and its hosts: what they are asked, and the JSON that they answer with.
struct SwarmPages: Sendable {
    let swarm: any SwarmServices
    let node: any NodeServices

    /// Everything but ``SwarmRoute/events`` and the snapshots, which have handlers of their own.
    func reply(to route: SwarmRoute, _ exchange: Exchange, body: [UInt8]) async throws -> Reply {
        switch route {
        case .peers: try await peers(exchange)
        case .diagnostics: try await exchange.client.whilePresent { await diagnostics() }
        case .status: Reply(await swarm.swarmStatus().json)
        case .nodes: Reply(["nodes": .array(await swarm.hosts().map(\.json))])
        case .topology: Reply(await topology())
        case .join: try await join(SwarmRequest(body))
        case .rotate: Reply(try await swarm.rotateKey(force: try SwarmRequest(body).flag("force")).json)
        case .evict: try await evict(SwarmRequest(body))
        case .vector: Reply(await swarm.vector().json)
        case .streams: Reply(type: ContentType.bytes, body: try await swarm.streamDigests())
        case .verify:
            try await exchange.client.whilePresent {
                Reply(try await swarm.verify(withPeers: try SwarmRequest(body).flag("peers")).json)
            }
        case .link, .events, .snapshots, .snapshot, .modelFile, .owners, .capacity:
            throw RuntimeError(.internal, "this route has a handler of its own")
        }
    }

    // MARK: Hosts

    /// The requirement's page: the members of this swarm. Whoever else was heard of stands apart, with the reason.
    private func peers(_ exchange: Exchange) async throws -> Reply {
        let withSelf = exchange.query("self") == "1"
        let hosts = await swarm.hosts().filter { withSelf || !$0.isSelf }
        return Reply([
            "peers": .array(hosts.filter(\.state.isMember).map(\.json)),
            "total_contexts": .integer(Int64(try await node.storeStatistics().conversations)),
            "others": .array(hosts.filter { !$0.state.isMember }.map(\.json)),
        ])
    }

    private func topology() async -> JSON {
        let links = await swarm.links()
        let hosts = await swarm.hosts().filter(\.state.isMember)
        let nodes = hosts.map { host -> JSON in
            let neighbours = Set(
                links.filter { $0.from == host.id || $0.to == host.id }.flatMap { [$0.from, $0.to] })
            return [
                "id": .string(host.id?.description), "name": .string(host.name), "address": .string("\(host.address)"),
                "state": .string(host.state.rawValue), "self": .bool(host.isSelf), "zone": .string(host.zone),
                "degree": .integer(Int64(max(neighbours.count - 1, 0))),
            ]
        }
        return ["nodes": .array(nodes), "links": .array(links.map(\.json))]
    }

    private func diagnostics() async -> Reply {
        let checks = await swarm.diagnose()
        let channels = await swarm.swarmStatus().channels
        let worst = checks.map(\.verdict).max() ?? .ok
        var page = JSON.Object()
        page["verdict"] = .string(worst == .skipped ? DiagnosticCheck.Verdict.ok.rawValue : worst.rawValue)
        for channel in channels where channel.channel == .mdns || channel.channel == .multicast {
            page[channel.channel.rawValue] = .string(channel.state.rawValue)
        }
        page["hints"] = .array(checks.filter { $0.verdict > .skipped }.compactMap { $0.fix.map { .string($0) } })
        page["discovery"] = .array(channels.map(\.json))
        page["checks"] = .array(checks.map(\.json))
        return Reply(.object(page))
    }

    // MARK: What an operator does

    private func join(_ request: SwarmRequest) async throws -> Reply {
        let text = try request.text("address")
        guard let address = NetworkAddress(text, defaultPort: Self.usualPort) else {
            throw RuntimeError(.invalidRequest, "address must be HOST or HOST:PORT", parameter: "address")
        }
        let expected = try request.node("id", isRequired: false)
        try await swarm.join(address)
        let hosts = await swarm.hosts()
        if let expected, let found = hosts.first(where: { $0.address == address })?.id, found != expected {
            throw RuntimeError(
                .invalidRequest,
                "the host at \(address) is \(found), not \(expected); it is linked with all the same", parameter: "id")
        }
        return Reply([
            "joined": true, "address": .string("\(address)"),
            "nodes": .array(hosts.filter(\.state.isMember).map(\.json)),
            "links": .array(await swarm.links().map(\.json)),
        ])
    }

    private static let usualPort = 8_080

    private func evict(_ request: SwarmRequest) async throws -> Reply {
        guard let id = try request.node("id", isRequired: true) else {
            throw RuntimeError(.invalidRequest, "id is missing", parameter: "id")
        }
        guard id != node.id else {
            throw RuntimeError(
                .invalidRequest, "this host cannot evict itself; ask another one, or stop this daemon", parameter: "id")
        }
        try await swarm.evict(id)
        return Reply([
            "evicted": .string(id.description), "rotation": await swarm.swarmStatus().rotation?.json ?? .null,
        ])
    }
}

/// The JSON body of a request to the swarm; an empty one is an empty object.
struct SwarmRequest {
    private let json: JSON

    init(_ body: [UInt8]) throws {
        json = body.isEmpty ? .object(JSON.Object()) : try JSON.parse(body)
        guard json.object != nil else { throw RuntimeError(.invalidRequest, "the body must be a JSON object") }
    }

    func text(_ key: String) throws(RuntimeError) -> String {
        guard let text = json[key]?.string, !text.isEmpty else {
            throw RuntimeError(.invalidRequest, "\(key) must be a text", parameter: key)
        }
        return text
    }

    func flag(_ key: String) throws(RuntimeError) -> Bool {
        guard let value = json[key] else { return false }
        guard let flag = value.bool else {
            throw RuntimeError(.invalidRequest, "\(key) must be true or false", parameter: key)
        }
        return flag
    }

    func node(_ key: String, isRequired: Bool) throws(RuntimeError) -> NodeID? {
        guard isRequired || json[key] != nil else { return nil }
        guard let id = NodeID(hex: try text(key)) else {
            throw RuntimeError(
                .invalidRequest,
                "\(key) must be the 32 hexadecimal digits of a host's id, as GET /v1/swarm/nodes "
                    + "shows them", parameter: key)
        }
        return id
    }
}
