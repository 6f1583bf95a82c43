import Core
import Node
import Synchronization
import Testing

@testable import Gateway

@Suite(.timeLimit(.minutes(1))) struct SwarmEventsTests {
    private static let node = ScriptedNode { _, _ in .scripted(.hello) }
    private static let death = SwarmEvent(
        "node_dead", at: 1_700_000_000_000, node: ScriptedSwarm.otherID, detail: "3 hosts confirm it")

    @Test("a listener gets the status first, then each event as it happens")
    func stream() async throws {
        let swarm = ScriptedSwarm()
        try await withGateway(Self.node, swarm: swarm) { port, _ in
            try await RawClient.connected(to: port) { client in
                try await client.send(get("/v1/swarm/events"))
                #expect(try await client.read(through: "\r\n\r\n").contains("text/event-stream"))
                let first = try await client.read(through: "\n\n")
                #expect(first.contains("event: status\ndata: {\"event\":\"status\""))
                #expect(first.contains(#""status":{"id":"0123456789abcdeffedcba9876543210","role":"worker""#))
                #expect(swarm.tell(Self.death))
                let second = try await client.read(through: "\n\n")
                #expect(
                    second.contains(
                        "event: node_dead\ndata: "
                            + #"{"event":"node_dead","at":"2023-11-14T22:13:20.000Z","node":"\#(ScriptedSwarm.otherID)","#
                            + #""detail":"3 hosts confirm it"}"#))
            }
        }
    }

    @Test("a WebSocket gets the same, one text frame each")
    func socket() async throws {
        let swarm = ScriptedSwarm()
        try await withGateway(Self.node, swarm: swarm) { port, _ in
            try await RawClient.connected(to: port) { client in
                try await client.send(
                    get(
                        "/v1/swarm/events",
                        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                            + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"))
                let head = try await client.read(through: "\r\n\r\n")
                #expect(head.hasPrefix("HTTP/1.1 101") && head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))
                #expect(try await client.read(through: "\"phase_history\"").contains("{\"event\":\"status\""))
                #expect(swarm.tell(Self.death))
                #expect(try await client.read(through: "confirm it\"}").contains("{\"event\":\"node_dead\""))
            }
        }
    }

    @Test("a silent stream is kept alive by comments")
    func heartbeat() async throws {
        var configuration = GatewayConfiguration(host: "127.0.0.1", port: 0)
        configuration.limits.heartbeat = .milliseconds(20)
        try await withGateway(Self.node, swarm: ScriptedSwarm(), configuration: configuration) { port, _ in
            try await RawClient.connected(to: port) { client in
                try await client.send(get("/v1/swarm/events"))
                for _ in 0..<3 { _ = try await client.read(through: ":\n\n") }
            }
        }
    }

    @Test("listeners are let go when the host ends, and do not hold it up")
    func shutdown() async throws {
        let swarm = ScriptedSwarm()
        try await withGateway(Self.node, swarm: swarm) { port, stop in
            try await RawClient.connected(to: port) { client in
                try await client.send(get("/v1/swarm/events"))
                _ = try await client.read(through: "event: status")
                await stop()
                // The end of the body, not a broken connection.
                #expect(try await client.readToEnd().hasSuffix("0\r\n\r\n"))
            }
        }
    }

    @Test("a listener that leaves is forgotten")
    func leaves() async throws {
        let (ends, ended) = AsyncStream<Void>.makeStream()
        let swarm = ScriptedSwarm()
        try await withGateway(Self.node, swarm: swarm) { port, _ in
            try await RawClient.connected(to: port) { client in
                try await client.send(get("/v1/swarm/events"))
                _ = try await client.read(through: "event: status")
                swarm.state.withLock { $0.listeners.first?.onTermination = { _ in ended.yield() } }
                try await client.close()
            }
            _ = await ends.first { true }
        }
    }
}
