import Core
import Cryptography
import NIOCore
import NIOSSL

/// The certificates that this host shows, and whose it takes. Made anew when the swarm's key changes.
struct LinkTrust: Sendable {
    /// This host in one of the swarms whose key it holds.
    struct Membership: Sendable {
        let swarm: SwarmID
        let authority: CertificateAuthority
        let certificate: NIOSSLCertificate
        /// For connections that this host opens.
        let client: NIOSSLContext

        /// What a dialing host asks for by name (SNI), so that during a rotation a host that was away meets the
        /// certificate that it knows. A tag that tells nothing about the key.
        var serverName: String { Self.serverName(of: swarm) }

        fileprivate static func serverName(of swarm: SwarmID) -> String { "\(swarm)\(suffix)" }
        fileprivate static let suffix = ".igris"
    }

    /// Whether it is what a host of some swarm asks for by name: no other name ends so.
    static func isServerName(_ text: String) -> Bool { text.hasSuffix(Membership.suffix) }

    /// The one in use first.
    let memberships: [Membership]
    let server: NIOSSLContext

    init(identity: Ed25519.PrivateKey, node: NodeID, primary: SwarmAuthority, accepted: [SwarmAuthority]) throws {
        let key = try NIOSSLPrivateKey(bytes: identity.pkcs8().reveal(), format: .der)
        var memberships: [Membership] = []
        for authority in [primary] + accepted where !memberships.contains(where: { $0.swarm == authority.swarm }) {
            memberships.append(try Self.membership(authority, identity.publicKey, node, key))
        }
        self.memberships = memberships
        server = try Self.server(memberships, key)
    }

    private static func membership(
        _ swarm: SwarmAuthority, _ host: Ed25519.PublicKey, _ node: NodeID, _ key: NIOSSLPrivateKey
    ) throws -> Membership {
        let authority = try CertificateAuthority(seed: SymmetricKey(swarm.seed.reveal()))
        let leaf = try authority.issueLeaf(for: host, name: node.description)
        let certificate = try NIOSSLCertificate(bytes: leaf, format: .der)
        var client = TLSConfiguration.makeClientConfiguration()
        client.certificateChain = [.certificate(certificate)]
        client.privateKey = .privateKey(key)
        client.certificateVerification = .noHostnameVerification
        restrict(&client)
        return Membership(
            swarm: swarm.swarm, authority: authority, certificate: certificate,
            client: try NIOSSLContext(configuration: client))
    }

    private static func server(_ memberships: [Membership], _ key: NIOSSLPrivateKey) throws -> NIOSSLContext {
        var server = TLSConfiguration.makeServerConfiguration(
            certificateChain: memberships.prefix(1).map { .certificate($0.certificate) }, privateKey: .privateKey(key))
        // Asked for, not demanded: the API is for everyone who may use it, over TLS as well.
        server.certificateVerification = .optionalVerification
        restrict(&server)
        let certificates = [String: NIOSSLCertificate](
            memberships.map { ($0.serverName, $0.certificate) }, uniquingKeysWith: { first, _ in first })
        server.sslContextCallback = { hello, promise in
            var override = NIOSSLContextConfigurationOverride()
            if let name = hello.serverHostname, let certificate = certificates[name] {
                override.certificateChain = [.certificate(certificate)]
            }
            promise.succeed(override)
        }
        return try NIOSSLContext(configuration: server)
    }

    /// TLS 1.3 and Ed25519, nothing else. The roots are ours to check (``judge``): without this line the library would
    /// load those of the system.
    private static func restrict(_ configuration: inout TLSConfiguration) {
        configuration.minimumTLSVersion = .tlsv13
        configuration.trustRoots = .certificates([])
        configuration.signingSignatureAlgorithms = [.ed25519]
        configuration.verifySignatureAlgorithms = [.ed25519]
        configuration.shutdownTimeout = TimeAmount(Limits.linkGoodbye)
    }

    /// Who a certificate chain speaks for. The handshake itself proves that the other side holds the leaf's key; only
    /// the leaf counts, and only an authority's own signature on it.
    func judge(_ chain: [NIOSSLCertificate]) -> PeerVerdict {
        // A certificate that the TLS library read and cannot write again is nobody's.
        guard let bytes = try? chain.first?.toDERBytes() else { return .stranger }
        for membership in memberships {
            guard let key = membership.authority.publicKey(ofLeaf: bytes),
                let id = Bytes16(SHA256.hash(key.bytes))
            else { continue }
            return .member(PeerCertificate(node: NodeID(id), publicKey: key.bytes, swarm: membership.swarm))
        }
        return CertificateAuthority.isFromSomeSwarm(bytes) ? .foreign : .stranger
    }
}

/// What a certificate says about whoever showed it.
enum PeerVerdict {
    case member(PeerCertificate)
    /// Of a swarm whose key this host does not hold.
    case foreign
    /// Nothing of ours.
    case stranger
    /// None was shown.
    case none
}
