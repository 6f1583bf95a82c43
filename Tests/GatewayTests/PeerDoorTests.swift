import Core
import Cryptography
import NIOCore
import NIOSSL
import Peering
import Testing

@testable import Gateway

extension PeerTests {
    /// The one port between hosts of a swarm, strangers and ordinary clients, over real sockets.
    @Suite(.timeLimit(.minutes(1))) struct PeerDoorTests {
        @Test("two hosts of a swarm have a link: both know who the other is, and messages pass both ways")
        func linkBothWays() async throws {
            let (here, there, both) = (try nodeID(1), try nodeID(2), try swarm(1).swarm)
            let key = try identity(2).publicKey.bytes
            try await withLink { dialed, accepted in
                #expect(dialed.peer.node == here && accepted.peer.node == there)
                #expect(dialed.peer.swarm == both && accepted.peer.swarm == both)
                #expect(accepted.peer.publicKey == key)
                #expect(dialed.isDialed && !accepted.isDialed)
                dialed.send([1, 2, 3])
                accepted.send([4])
                accepted.send([])
                var atServer = accepted.messages().makeAsyncIterator()
                var atClient = dialed.messages().makeAsyncIterator()
                let received = [try await atServer.next(), try await atClient.next(), try await atClient.next()]
                #expect(received == [[1, 2, 3], [4], []])
                #expect(dialed.bytesSent == 2 + 4 + 3 && accepted.bytesReceived == 2 + 4 + 3)
                #expect(dialed.bytesReceived == 2 + 1 + 2)
            }
        }

        @Test("a host with another swarm key is told so, on both sides of the wire")
        func anotherKey() async throws {
            try await withHost(1, in: swarm(1)) { server in
                let stranger = try LinkTransport(identity: identity(2), primary: swarm(2))
                let failure = await #expect(throws: LinkFailure.self) { try await stranger.dial(server.address) }
                #expect(failure?.reason == .keyMismatch)
                #expect(failure?.message.contains("swarm join") == true)
            }
        }

        @Test("a denied identity is refused by name, in both directions, and its open link closed")
        func denied() async throws {
            try await withHost(1, in: swarm(1)) { server in
                let client = try LinkTransport(identity: identity(2), primary: swarm(1))
                let link = try await client.dial(server.address)
                await server.transport.deny([try nodeID(2)])
                for try await _ in link.messages() {}
                let failure = await #expect(throws: LinkFailure.self) { try await client.dial(server.address) }
                #expect(failure?.reason == .evicted)

                await server.transport.deny([])
                await client.deny([try nodeID(1)])
                let other = await #expect(throws: LinkFailure.self) { try await client.dial(server.address) }
                #expect(other?.reason == .denied)
                await client.deny([])
                _ = try await client.dial(server.address)
            }
        }

        @Test("during a rotation old and new keys meet whichever way, and afterwards the old one is out")
        func rotation() async throws {
            let (old, new) = (try swarm(1).swarm, try swarm(2).swarm)
            try await withHost(1, in: swarm(1)) { server in
                let away = try LinkTransport(identity: identity(2), primary: swarm(1))
                let ready = try LinkTransport(identity: identity(3), primary: swarm(2), accepted: [swarm(1)])
                // The new key is in use elsewhere and not yet known here.
                let first = try await ready.dial(server.address).peer.swarm
                #expect(first == old)
                // It is in use here, and the old one accepted.
                try await server.transport.use(primary: swarm(2), accepted: [swarm(1)])
                let link = try await away.dial(server.address)
                let second = try await ready.dial(server.address).peer.swarm
                #expect(link.peer.swarm == old && second == new)
                // The old one is retired: its links close, and no new ones come.
                try await server.transport.use(primary: swarm(2), accepted: [])
                for try await _ in link.messages() {}
                let failure = await #expect(throws: LinkFailure.self) { try await away.dial(server.address) }
                #expect(failure?.reason == .keyMismatch)
                let third = try await ready.dial(server.address).peer.swarm
                #expect(third == new)
            }
        }

        @Test("where nobody listens, nothing answers, or something else listens, the failure says so")
        func strangeDoors() async throws {
            let client = try LinkTransport(identity: identity(2), primary: swarm(1))
            let nobody = await #expect(throws: LinkFailure.self) {
                try await client.dial(NetworkAddress(host: "127.0.0.1", port: 1))
            }
            #expect(nobody?.reason == .refused)
            let nowhere = await #expect(throws: LinkFailure.self) {
                try await client.dial(NetworkAddress(host: "no-such-host.invalid", port: 8080))
            }
            #expect(nowhere?.reason == .unreachable)
            // A gateway without a swarm speaks plain HTTP only.
            try await withGateway(ScriptedNode { _, _ in .scripted(.hello) }) { port, _ in
                let failure = await #expect(throws: LinkFailure.self) {
                    try await client.dial(NetworkAddress(host: "localhost", port: port))
                }
                #expect(failure?.reason == .notIgris)
            }
        }

        @Test("the link's path wants the swarm's certificate, and says what is missing")
        func withoutCertificate() async throws {
            try await withHost(1, in: swarm(1)) { server in
                let plain = try await RawClient.connected(to: server.port) { client in
                    try await client.send(get("/v1/swarm/ws"))
                    return try await client.response()
                }
                #expect(plain.status == 401 && plain.body.contains("TLS"))
                let secure = try await RawClient.connected(to: server.port, first: tls()) { client in
                    try await client.send(get("/v1/swarm/ws"))
                    let refusal = try await client.response()
                    // The connection stays, and the API is for everyone on loopback.
                    try await client.send(get("/livez"))
                    let answer = try await client.response()
                    #expect(answer.status == 200)
                    return refusal
                }
                #expect(secure.status == 401 && secure.body.contains("certificate"))
            }
        }

        @Test("a host of the swarm that asks for no WebSocket, or wrongly, is told what the path is")
        func withoutUpgrade() async throws {
            try await withHost(1, in: swarm(1)) { server in
                let member = try membership(identity(2), of: swarm(1))
                let statuses = try await RawClient.connected(to: server.port, first: member) { client in
                    try await client.send(get("/v1/swarm/ws", host: "some-other-name"))
                    let none = try await client.response()
                    #expect(none.headers["upgrade"] == "websocket")
                    try await client.send(get("/v1/swarm/ws", "Connection: upgrade\r\nUpgrade: websocket\r\n"))
                    return [none.status, try await client.response().status]
                }
                #expect(statuses == [426, 400])
            }
        }

        @Test("a certificate of another authority ends the handshake")
        func foreignCertificate() async throws {
            try await withHost(1, in: swarm(1)) { server in
                let foreign = try membership(identity(2), of: swarm(2))
                _ = await #expect(throws: (any Error).self) {
                    try await RawClient.connected(to: server.port, first: foreign) { client in
                        try await client.send(get("/livez"))
                        _ = try await client.response()
                    }
                }
            }
        }

        @Test("TLS 1.2 is refused")
        func oldTLS() async throws {
            try await withHost(1, in: swarm(1)) { server in
                _ = await #expect(throws: (any Error).self) {
                    try await RawClient.connected(to: server.port, first: tls { $0.maximumTLSVersion = .tlsv12 }) {
                        client in
                        try await client.send(get("/livez"))
                        _ = try await client.response()
                    }
                }
            }
        }

        @Test(
            "whoever says nothing, half a handshake or rubbish is dropped at the deadline, and nobody else suffers",
            arguments: [
                [0x16], [0x16, 3, 1, 0, 0xF0, 1, 0, 0, 0xEC, 3, 3], [0x16, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3], [],
            ]
                as [[UInt8]])
        func dawdling(_ bytes: [UInt8]) async throws {
            var limits = GatewayLimits()
            limits.headerDeadline = .milliseconds(300)
            limits.keepAliveIdle = .milliseconds(400)
            try await withHost(1, in: swarm(1), limits: limits) { server in
                let reply = try await RawClient.connected(to: server.port) { client in
                    if !bytes.isEmpty { try await client.send(bytes) }
                    return try await client.readToEnd()
                }
                #expect(!reply.contains("HTTP/1.1"))
                let client = try LinkTransport(identity: identity(2), primary: swarm(1))
                _ = try await client.dial(server.address)
            }
        }

        @Test("a small request between hosts goes over the same certificates, and asks for the right host")
        func requests() async throws {
            try await withHost(1, in: swarm(1)) { server in
                let client = try LinkTransport(identity: identity(2), primary: swarm(1))
                let body = try await client.get("/livez", range: nil, from: server.address, node: server.node)
                #expect(String(decoding: body, as: UTF8.self).contains("ok"))
                let missing = await #expect(throws: RuntimeError.self) {
                    try await client.get("/nothing", range: nil, from: server.address, node: server.node)
                }
                #expect(missing?.code == .notFound)
                _ = await #expect(throws: LinkFailure.self) {
                    try await client.get("/livez", range: nil, from: server.address, node: nodeID(9))
                }
            }
        }
    }
}
