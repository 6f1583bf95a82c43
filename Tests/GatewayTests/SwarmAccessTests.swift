import Core
import Guardian
import HTTPTypes
import Logging
import Node
import Testing

@testable import Gateway

@Suite(.timeLimit(.minutes(1))) struct SwarmAccessTests {
    private static let peerPaths = [
        "/v1/swarm/ws", "/v1/swarm/work", "/v1/swarm/tunnel", "/v1/sync/vector", "/v1/sync/snapshot",
        "/v1/sync/snapshot/\(ScriptedSwarm.snapshotID)",
    ]

    @Test("every route of the swarm is found by its path, and declares who may use it")
    func routes() throws {
        let table: [(String, SwarmRoute, Access)] = [
            ("/v1/mcp/peers", .peers, .read), ("/v1/mcp/diagnostics", .diagnostics, .read),
            ("/v1/swarm/status", .status, .read), ("/v1/swarm/nodes/", .nodes, .read),
            ("/v1/swarm/topology", .topology, .read), ("/v1/swarm/events", .events, .read),
            ("/v1/swarm/join", .join, .admin), ("/v1/swarm/rotate", .rotate, .admin),
            ("/v1/swarm/evict", .evict, .admin), ("/v1/swarm/ws", .link(.swarm), .peer),
            ("/v1/swarm/work", .link(.work), .peer), ("/v1/sync/vector", .vector, .peer),
            ("/v1/sync/snapshot", .snapshots, .peer), ("/v1/sync/snapshot/ab", .snapshot("ab"), .peer),
        ]
        for (path, route, access) in table {
            #expect(Route(path: Substring(path)) == .swarm(route))
            #expect(route.access == access)
            #expect(Route.swarm(route).pattern.hasPrefix("/v1/"))
        }
        #expect(Route(path: "/v1/chat/completions")?.access == .chat)
    }

    @Test("what is for peers is shut to everyone else, key or not", arguments: peerPaths)
    func peersOnly(_ path: String) async throws {
        var configuration = GatewayConfiguration(host: "127.0.0.1", port: 0)
        configuration.keys = [(name: "laptop", key: Secret("sk-right"))]
        let swarm = ScriptedSwarm { $0.snapshot = [1, 2, 3] }
        let reply = try await ask(
            get(path, "Authorization: Bearer sk-right\r\n"), swarm: swarm, configuration: configuration)
        #expect(reply.status == 401)
        #expect(reply.body.contains("certificate"))
        #expect(swarm.deeds.isEmpty)
    }

    @Test("a certificate of the swarm opens what is for peers, by whatever name the host is called")
    func peers() async throws {
        let reply = try await ask(get("/v1/sync/vector", host: "a-name-of-the-peers"), asPeer: true)
        #expect(reply.status == 200)
        #expect(
            reply.body
                == #"{"vector":[{"node":"0123456789abcdeffedcba9876543210","epoch":2,"sequence":12}]}"#)
    }

    @Test("TLS without a certificate of the swarm opens nothing", arguments: peerPaths)
    func tlsAlone(_ path: String) async throws {
        #expect(try await ask(get(path), asPeer: true, door: .scripted(nil)).status == 401)
    }

    @Test("an evicted host is refused though it has a certificate", arguments: peerPaths)
    func evicted(_ path: String) async throws {
        let reply = try await ask(get(path), asPeer: true, door: .scripted(PeerDoor.member, denied: true))
        #expect(reply.status == 403)
        #expect(reply.body.contains("evicted"))
    }

    @Test("a link is a WebSocket and nothing else")
    func linkWithoutUpgrade() async throws {
        #expect(try await ask(get("/v1/swarm/ws"), asPeer: true).status == 426)
    }

    @Test("what changes the swarm is taken from this machine only", arguments: [Access.read, .admin])
    func adminsAreLocal(_ access: Access) throws {
        let admission = Admission(
            hosts: HostRule(), rule: AccessRule(keys: ClientKeys([]), network: .open), tokens: nil,
            rates: RateGate(perAddress: nil),
            machine: MachineNamesCache(),
            link: SwarmLink(door: nil))
        for (address, isLocal) in [("127.0.0.1", true), ("::1", true), ("192.168.1.5", false)] {
            let exchange = Exchange(
                head: .init(method: .post, scheme: "http", authority: "localhost", path: "/v1/swarm/rotate"),
                client: ClientConnection(peer: IPAddress(address), local: nil), log: .init(label: "test"))
            let isAdmitted = (try? admission.admit(exchange, to: access)) != nil
            #expect(isAdmitted == (isLocal || access == .read))
        }
    }

    @Test("an admin's request needs the right key where keys are configured")
    func adminKey() async throws {
        var configuration = GatewayConfiguration(host: "127.0.0.1", port: 0)
        configuration.keys = [(name: "laptop", key: Secret("sk-right"))]
        let swarm = ScriptedSwarm()
        let reply = try await ask(
            post("", "Authorization: Bearer sk-wrong\r\n", path: "/v1/swarm/rotate"), swarm: swarm,
            configuration: configuration)
        #expect(reply.status == 401)
        #expect(swarm.deeds.isEmpty)
    }

    @Test(
        "a page of another site may neither read nor change anything",
        arguments: [
            get("/v1/mcp/peers", "Origin: http://evil.com\r\n"), get("/v1/swarm/events", "Origin: http://evil.com\r\n"),
            post("", "Origin: http://evil.com\r\n", path: "/v1/swarm/rotate"),
            get("/v1/swarm/status", host: "evil.com"),
            "DELETE /v1/mcp/contexts/talk HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.com\r\n\r\n",
        ])
    func crossSite(_ request: String) async throws {
        let swarm = ScriptedSwarm()
        let reply = try await ask(request, swarm: swarm)
        #expect(reply.status == 403)
        #expect(swarm.deeds.isEmpty)
    }

    @Test(
        "a wrong method is told the right ones",
        arguments: [
            ("/v1/mcp/peers", "GET, HEAD, OPTIONS"), ("/v1/mcp/contexts/talk", "GET, HEAD, DELETE, OPTIONS"),
            ("/v1/swarm/events", "GET, OPTIONS"),
        ])
    func methods(_ path: String, _ methods: String) async throws {
        let reply = try await ask(post("{}", path: path))
        #expect(reply.status == 405)
        #expect(reply.headers["allow"] == methods)
        #expect(try await ask(get("/v1/swarm/rotate")).headers["allow"] == "POST, OPTIONS")
    }
}
