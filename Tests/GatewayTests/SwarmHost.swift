import Core
import Cryptography
import NIOCore
import NIOSSL
import Peering
import Testing

@testable import Gateway

/// One after the other: what they measure is patience, and the links among them move megabytes through code that is
/// not optimised.
@Suite(.serialized) enum PeerTests {}

/// A host as others meet it: the real gateway and the real transport behind one port.
struct SwarmHost: Sendable {
    let transport: LinkTransport
    let node: NodeID
    let port: Int

    var address: NetworkAddress { NetworkAddress(host: "127.0.0.1", port: port) }

    /// The first link that someone opens to this host.
    func nextLink() async throws -> any PeerLink {
        for await link in transport.accepted { return link }
        throw RuntimeError(.internal, "no link came")
    }
}

/// A swarm that is nobody else's.
func swarm(_ number: UInt8) throws -> SwarmAuthority {
    let keys = try SwarmKeys(SymmetricKey([UInt8](repeating: number, count: 32)))
    guard let tag = Bytes16(keys.tag) else { throw RuntimeError(.internal, "a tag is too short") }
    return SwarmAuthority(swarm: SwarmID(tag), seed: Secret(keys.authority.reveal()))
}

func identity(_ number: UInt8) throws -> Ed25519.PrivateKey {
    try Ed25519.PrivateKey(seed: SymmetricKey([UInt8](repeating: number, count: 32)))
}

func nodeID(_ number: UInt8) throws -> NodeID {
    guard let id = Bytes16(SHA256.hash(try identity(number).publicKey.bytes)) else {
        throw RuntimeError(.internal, "a hash is too short")
    }
    return NodeID(id)
}

/// Runs host `number` of the swarms for as long as `work` takes.
func withHost<Value: Sendable>(
    _ number: UInt8, in swarms: SwarmAuthority..., limits: GatewayLimits = GatewayLimits(),
    clientDoor: ClientDoor? = nil,
    work: @escaping @Sendable (SwarmHost) async throws -> Value
) async throws -> Value {
    guard let primary = swarms.first else { throw RuntimeError(.internal, "a host needs a swarm") }
    let transport = try LinkTransport(
        identity: identity(number), primary: primary, accepted: Array(swarms.dropFirst()))
    let door = PeerDoor(
        secure: { transport.secure($0) }, isName: LinkTransport.isServerName, isDenied: { transport.isDenied($0) },
        takeLink: { transport.takeLink($0, from: $1, for: $2) })
    var configuration = GatewayConfiguration(host: "127.0.0.1", port: 0)
    configuration.limits = limits
    let id = try nodeID(number)
    return try await withGateway(
        ScriptedNode { _, _ in .scripted(.hello) }, configuration: configuration, door: door, clientDoor: clientDoor
    ) {
        port, _ in
        try await work(SwarmHost(transport: transport, node: id, port: port))
    }
}

/// Two hosts of one swarm with a link between them, as each of them sees it.
func withLink<Value: Sendable>(
    work: @escaping @Sendable (_ dialed: any PeerLink, _ accepted: any PeerLink) async throws -> Value
) async throws -> Value {
    try await withHost(1, in: swarm(1)) { server in
        let client = try LinkTransport(identity: identity(2), primary: swarm(1))
        let dialed = try await client.dial(server.address)
        let accepted = try await server.nextLink()
        return try await work(dialed, accepted)
    }
}

/// TLS as an ordinary client speaks it: no certificate, and none of ours is known.
func tls(_ change: @escaping @Sendable (inout TLSConfiguration) throws -> Void = { _ in })
    -> @Sendable (any Channel) throws -> Void
{
    { channel in
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.certificateVerification = .none
        configuration.verifySignatureAlgorithms = [.ed25519, .ecdsaSecp256R1Sha256, .rsaPssRsaeSha256]
        try change(&configuration)
        let context = try NIOSSLContext(configuration: configuration)
        try channel.pipeline.syncOperations.addHandler(NIOSSLClientHandler(context: context, serverHostname: nil))
    }
}

/// A client that speaks plain HTTP inside mutual TLS.
func membership(
    _ key: Ed25519.PrivateKey, of swarm: SwarmAuthority
) throws -> @Sendable (any Channel) throws -> Void {
    let authority = try CertificateAuthority(seed: SymmetricKey(swarm.seed.reveal()))
    let leaf = try NIOSSLCertificate(bytes: authority.issueLeaf(for: key.publicKey, name: "test"), format: .der)
    let secret = try NIOSSLPrivateKey(bytes: key.pkcs8().reveal(), format: .der)
    return tls { configuration in
        configuration.certificateChain = [.certificate(leaf)]
        configuration.privateKey = .privateKey(secret)
        configuration.signingSignatureAlgorithms = [.ed25519]
    }
}

/// Where a connection can be cut below TLS.
final class CutPoint: ChannelInboundHandler {
    typealias InboundIn = NIOAny
}
