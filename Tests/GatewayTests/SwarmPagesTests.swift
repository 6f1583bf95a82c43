import Core
import Guardian
import Node
import Testing

@testable import Gateway

/// One request on a connection of its own; `asPeer` shows the certificate of a member first.
func ask(
    _ request: String, hasBody: Bool = true, swarm: ScriptedSwarm? = ScriptedSwarm(), asPeer: Bool = false,
    door: PeerDoor = .scripted(PeerDoor.member),
    configuration: GatewayConfiguration = GatewayConfiguration(host: "127.0.0.1", port: 0)
) async throws -> RawClient.Response {
    try await withGateway(
        ScriptedNode { _, _ in .scripted(.hello) }, swarm: swarm, configuration: configuration, door: door
    ) { port, _ in
        try await RawClient.connected(to: port) { client in
            try await client.send((asPeer ? "\u{16}" : "") + request)
            return try await client.response(hasBody: hasBody)
        }
    }
}

@Suite(.timeLimit(.minutes(1))) struct SwarmPagesTests {
    // MARK: Peers

    @Test("the peers page begins with the fields of the requirement and shows members only, not this host")
    func peers() async throws {
        let reply = try await ask(get("/v1/mcp/peers"))
        #expect(reply.status == 200)
        let page = try JSON.parse(reply.body)
        #expect(page.object?.members.map(\.key) == ["peers", "total_contexts", "others"])
        #expect(page["total_contexts"]?.integer == 1)
        let peers = try #require(page["peers"]?.array)
        #expect(peers.count == 1)
        let peer = try #require(peers.first)
        #expect(peer.object?.members.prefix(3).map(\.key) == ["id", "address", "last_seen"])
        #expect(peer["id"]?.string == "00000000000000010000000000000002")
        #expect(peer["address"]?.string == "192.168.1.11:8081")
        #expect(peer["last_seen"]?.string == "2024-01-15T10:30:00.000Z")
        #expect(peer["state"]?.string == "alive" && peer["name"]?.string == "kitchen")
        #expect(peer["rtt_ms"]?.number == 1.234 && peer["clock_skew_ms"]?.number == -2_000)
        #expect(peer["lag"]?.integer == 4 && peer["behind"]?.integer == 3 && peer["ahead"]?.integer == 1)
        #expect(peer["sync"]?.string == "syncing" && peer["role"]?.string == "worker")
        #expect(peer["via"]?.array == ["mdns", "multicast"] && peer["models"]?.array == ["phi3"])
        #expect(peer.object?["why_not"] == .null)
    }

    @Test("nobody is said to be equal who is not linked, or has not said what it holds", arguments: [nil, false, true])
    func compared(isCompared: Bool?) {
        let report = HostReport(
            id: nil, address: NetworkAddress(host: "10.0.0.1", port: 1), state: .alive, lastSeen: 0,
            isCompared: isCompared)
        let words = isCompared.map { $0 ? "equal" : "syncing" } ?? "not_linked"
        #expect(report.json["sync"]?.string == words)
    }

    @Test("hosts that are no members stand apart, with the reason")
    func others() async throws {
        let others = try #require(try JSON.parse(try await ask(get("/v1/mcp/peers")).body)["others"]?.array)
        #expect(others.map { $0["state"]?.string } == ["foreign"])
        #expect(others.first?["sync"]?.string == "key_mismatch")
        #expect(others.first?["why_not"]?.string?.contains("another swarm key") == true)
    }

    @Test("this host is among the peers only for whoever asks for it")
    func selfAmongPeers() async throws {
        let peers = try #require(try JSON.parse(try await ask(get("/v1/mcp/peers?self=1")).body)["peers"]?.array)
        #expect(peers.map { $0["self"]?.bool } == [true, false])
    }

    @Test("each state stands in the right list", arguments: HostReport.State.allCases)
    func lists(_ state: HostReport.State) async throws {
        let swarm = ScriptedSwarm { script in
            script.hosts = [
                HostReport(id: nil, address: NetworkAddress(host: "10.0.0.1", port: 1), state: state, lastSeen: 0)
            ]
        }
        let page = try JSON.parse(try await ask(get("/v1/mcp/peers"), swarm: swarm).body)
        let isMember = [.alive, .suspect, .dead, .left].contains(state)
        #expect(page["peers"]?.array?.count == (isMember ? 1 : 0))
        #expect(page["others"]?.array?.count == (isMember ? 0 : 1))
    }

    @Test(
        "a host that shares nothing has none of these pages, and says which setting does it",
        arguments: ["/v1/mcp/peers", "/v1/mcp/diagnostics", "/v1/swarm/status", "/v1/swarm/nodes", "/v1/swarm/events"])
    func withoutSwarm(_ path: String) async throws {
        let reply = try await ask(get(path), swarm: nil)
        #expect(reply.status == 404)
        #expect(reply.body.contains("mcp.enabled"))
    }

    // MARK: Status, nodes, topology, diagnostics

    @Test("the status begins with id, role and phase")
    func status() async throws {
        let page = try JSON.parse(try await ask(get("/v1/swarm/status")).body)
        #expect(page.object?.members.prefix(3).map(\.key) == ["id", "role", "phase"])
        #expect(page["id"]?.string == "0123456789abcdeffedcba9876543210")
        #expect(page["role"]?.string == "worker" && page["phase"]?.string == "steady")
        #expect(page["members"]?["alive"]?.integer == 2 && page["security"]?.string == "key")
        #expect(page["phase_history"]?.array?.map { $0["phase"]?.string } == ["starting", "steady"])
        #expect(page["phase_history"]?.array?.last?["at"]?.string == "2023-11-14T22:13:22.500Z")
        #expect(page["discovery"]?.array?.first?["state"]?.string == "unavailable")
        #expect(page["warnings"]?.array?.count == 1 && page.object?["rotation"] == .null)
    }

    @Test("the nodes are all hosts, this one first")
    func nodes() async throws {
        let nodes = try #require(try JSON.parse(try await ask(get("/v1/swarm/nodes")).body)["nodes"]?.array)
        #expect(nodes.map { $0["name"]?.string } == ["attic", "kitchen", "office"])
        #expect(nodes.map { $0["self"]?.bool } == [true, false, false])
    }

    @Test("the topology shows members and who is linked with whom")
    func topology() async throws {
        let page = try JSON.parse(try await ask(get("/v1/swarm/topology")).body)
        #expect(page["nodes"]?.array?.map { $0["degree"]?.integer } == [1, 2])
        // Of others' links nobody counts the bytes here.
        #expect(page["links"]?.array?.last?.object?["bytes_sent"] == .null)
        #expect(page["links"]?.array?.first?["rtt_ms"]?.number == 0.25)
        #expect(page["links"]?.array?.first?["to"]?.string == ScriptedSwarm.otherID.description)
    }

    @Test("the diagnostics give the worst verdict, each channel's state and what to do")
    func diagnostics() async throws {
        let swarm = ScriptedSwarm { script in
            script.checks = [
                DiagnosticCheck(id: "port.open", title: "The port", verdict: .ok, finding: "8080 is open"),
                DiagnosticCheck(
                    id: "mdns.avahi", title: "Avahi", verdict: .warn, finding: "does not run",
                    fix: "start avahi-daemon, or rely on mcp.multicast"),
                DiagnosticCheck(id: "ipv6", title: "IPv6", verdict: .skipped, finding: "no address"),
            ]
        }
        let page = try JSON.parse(try await ask(get("/v1/mcp/diagnostics"), swarm: swarm).body)
        #expect(page["verdict"]?.string == "warn" && page["mdns"]?.string == "unavailable")
        #expect(page["multicast"]?.string == "on")
        #expect(page["hints"]?.array == ["start avahi-daemon, or rely on mcp.multicast"])
        #expect(page["checks"]?.array?.map { $0["verdict"]?.string } == ["ok", "warn", "skipped"])
    }

    @Test("checks that could not be made are no fault")
    func skippedChecks() async throws {
        let swarm = ScriptedSwarm { script in
            script.checks = [DiagnosticCheck(id: "ipv6", title: "IPv6", verdict: .skipped, finding: "no address")]
        }
        let page = try JSON.parse(try await ask(get("/v1/mcp/diagnostics"), swarm: swarm).body)
        #expect(page["verdict"]?.string == "ok")
    }

    // MARK: What an operator does

    @Test("join links with an address and answers with members and links")
    func join() async throws {
        let swarm = ScriptedSwarm()
        let reply = try await ask(post(#"{"address":"192.168.1.11:8081"}"#, path: "/v1/swarm/join"), swarm: swarm)
        #expect(reply.status == 200)
        #expect(swarm.deeds == ["join 192.168.1.11:8081"])
        let page = try JSON.parse(reply.body)
        #expect(page["nodes"]?.array?.count == 2 && page["links"]?.array?.count == 2)
    }

    @Test("join tells when another host is there than the one that was named")
    func joinOther() async throws {
        let body = #"{"address":"192.168.1.11:8081","id":"\#(ScriptedSwarm.strangerID)"}"#
        let reply = try await ask(post(body, path: "/v1/swarm/join"))
        #expect(reply.status == 400)
        #expect(reply.body.contains(ScriptedSwarm.otherID.description))
    }

    @Test("a refused join says why")
    func joinRefused() async throws {
        let swarm = ScriptedSwarm { $0.refusal = RuntimeError(.unavailable, "nobody listens at 10.0.0.1:8080") }
        let reply = try await ask(post(#"{"address":"10.0.0.1"}"#, path: "/v1/swarm/join"), swarm: swarm)
        #expect(reply.status == 503)
        #expect(reply.body.contains("nobody listens"))
        #expect(swarm.deeds == ["join 10.0.0.1:8080"])
    }

    @Test("rotate answers where the change stands", arguments: [("", false), (#"{"force":true}"#, true)])
    func rotate(_ body: String, _ force: Bool) async throws {
        let swarm = ScriptedSwarm()
        let reply = try await ask(post(body, path: "/v1/swarm/rotate"), swarm: swarm)
        #expect(reply.status == 200)
        #expect(swarm.deeds == ["rotate \(force)"])
        let page = try JSON.parse(reply.body)
        #expect(page["phase"]?.string == "install" && page["waiting"]?.array?.count == 1)
    }

    @Test("evict names the identity that is denied, and never this host's own")
    func evict() async throws {
        let swarm = ScriptedSwarm()
        let reply = try await ask(
            post(#"{"id":"\#(ScriptedSwarm.strangerID)"}"#, path: "/v1/swarm/evict"), swarm: swarm)
        #expect(reply.status == 200)
        #expect(swarm.deeds == ["evict \(ScriptedSwarm.strangerID)"])
        let own = try await ask(post(#"{"id":"\#(ScriptedSwarm.ownID)"}"#, path: "/v1/swarm/evict"), swarm: swarm)
        #expect(own.status == 400)
        #expect(swarm.deeds.count == 1)
    }

    @Test(
        "what cannot be understood is refused by the field's name, and nothing is done",
        arguments: [
            ("join", "{}", "address"), ("join", #"{"address":"a b"}"#, "address"),
            ("join", #"{"address":7}"#, "address"),
            ("join", #"{"address":"a","id":"short"}"#, "id"), ("rotate", #"{"force":"yes"}"#, "force"),
            ("evict", "{}", "id"), ("evict", #"{"id":"kitchen"}"#, "id"), ("evict", "[]", "body"),
            ("join", "{", "JSON"),
        ])
    func refused(_ verb: String, _ body: String, _ word: String) async throws {
        let swarm = ScriptedSwarm()
        let reply = try await ask(post(body, path: "/v1/swarm/\(verb)"), swarm: swarm)
        #expect(reply.status == 400)
        #expect(reply.body.contains(word), "\(reply.body)")
        #expect(swarm.deeds.isEmpty)
    }

    // MARK: Deletion

    @Test(
        "a deletion tells who has done it", arguments: [("", "2.0 seconds"), ("?wait=0", "0.0 seconds")])
    func deletion(_ query: String, _ patience: String) async throws {
        let swarm = ScriptedSwarm()
        let reply = try await ask(
            "DELETE /v1/mcp/contexts/talk\(query) HTTP/1.1\r\nHost: localhost\r\n\r\n", swarm: swarm)
        #expect(reply.status == 200)
        #expect(swarm.deeds == ["delete talk of local within \(patience)"])
        let page = try JSON.parse(reply.body)
        #expect(page["deleted"]?.bool == true && page["id"]?.string == "talk")
        #expect(page["confirmed"]?.array == [.string(ScriptedSwarm.ownID.description)])
        #expect(page["pending"]?.array == [.string(ScriptedSwarm.otherID.description)])
    }

    @Test("a deletion that waits for ever is refused", arguments: ["-1", "31", "x", ""])
    func deletionWait(_ wait: String) async throws {
        let swarm = ScriptedSwarm()
        let reply = try await ask(
            "DELETE /v1/mcp/contexts/talk?wait=\(wait) HTTP/1.1\r\nHost: localhost\r\n\r\n", swarm: swarm)
        #expect(reply.status == 400)
        #expect(swarm.deeds.isEmpty)
    }
}
