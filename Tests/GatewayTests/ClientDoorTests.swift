import Core
import Cryptography
import NIOCore
import NIOSSL
import Peering
import Testing

@testable import Gateway

extension PeerTests {
    /// The one port, where clients are spoken with over TLS as well.
    @Suite(.timeLimit(.minutes(1))) struct ClientDoorTests {
        private static func source(_ number: UInt8 = 1) throws -> ClientTLSSource {
            let key = try ServerKey(seed: SymmetricKey([UInt8](repeating: number, count: 32)))
            let certificate = try ServerCertificate.selfSigned(
                key, serial: 1, names: ["localhost"], addresses: [], from: 0, until: 4_000_000_000)
            return ClientTLSSource(.own(certificate, key))
        }

        private static func door() throws -> ClientDoor {
            let tls = try ClientTLS(source())
            return ClientDoor(
                secure: { tls.secure($0) },
                certificate: {
                    ClientDoor.Certificate(
                        fingerprint: tls.shown.facts.fingerprint, keyPin: "", text: "", notAfter: 0, isOwn: true)
                })
        }

        @Test("hosts of a swarm are met as such, and clients of every kind as clients, on one port")
        func bothDoors() async throws {
            try await withHost(1, in: swarm(1), clientDoor: Self.door()) { server in
                let peer = try LinkTransport(identity: identity(2), primary: swarm(1))
                #expect(try await peer.dial(server.address).peer.node == nodeID(1))
                // TLS 1.2, which the swarm's door does not speak; and 1.3.
                for version in [TLSVersion.tlsv12, .tlsv13] {
                    let status = try await RawClient.connected(
                        to: server.port, first: tls { $0.maximumTLSVersion = version }
                    ) { client in
                        try await client.send(get("/livez"))
                        return try await client.response().status
                    }
                    #expect(status == 200)
                }
                let plain = try await RawClient.connected(to: server.port) { client in
                    try await client.send(get("/livez"))
                    return try await client.response().status
                }
                #expect(plain == 200)
                // A host with another key is told so, and not taken for a client.
                let stranger = try LinkTransport(identity: identity(3), primary: swarm(2))
                let failure = await #expect(throws: LinkFailure.self) { try await stranger.dial(server.address) }
                #expect(failure?.reason == .keyMismatch)
            }
        }

        @Test("a client over TLS is no peer, whatever it shows")
        func noPeer() async throws {
            try await withHost(1, in: swarm(1), clientDoor: Self.door()) { server in
                let member = try membership(identity(2), of: swarm(1))
                for first in [tls(), member] {
                    let refusal = try await RawClient.connected(to: server.port, first: first) { client in
                        try await client.send(get("/v1/swarm/ws"))
                        return try await client.response()
                    }
                    #expect(refusal.status == 401)
                }
            }
        }

        @Test(
            "whoever says nothing more, or rubbish, is dropped at the deadline",
            arguments: [
                [0x16], [0x16, 3, 1, 0, 0xF0, 1, 0, 0, 0xEC, 3, 3], [0x16, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3],
            ] as [[UInt8]])
        func dawdling(_ bytes: [UInt8]) async throws {
            var limits = GatewayLimits()
            limits.headerDeadline = .milliseconds(300)
            try await withHost(1, in: swarm(1), limits: limits, clientDoor: Self.door()) { server in
                let reply = try await RawClient.connected(to: server.port) { client in
                    try await client.send(bytes)
                    return try await client.readToEnd()
                }
                #expect(!reply.contains("HTTP/1.1"))
            }
        }
    }
}
