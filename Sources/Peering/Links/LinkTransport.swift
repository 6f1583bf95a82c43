package import Core
package import Cryptography
package import NIOCore
import NIOHTTP1
import NIOSSL
import Synchronization

/// Opens and accepts links over mutual TLS 1.3. The swarm's key *is* the certificate authority: who shows a certificate
/// of it belongs to the swarm, and who that is, is the hash of the certificate's key (swarm.md §11).
package final class LinkTransport: PeerTransport {
    private struct State {
        var trust: LinkTrust
        var denied: Set<NodeID> = []
        /// Every open link, so that those that lost their right can be closed.
        var links: [ObjectIdentifier: WebSocketLink] = [:]
    }

    private let identity: Ed25519.PrivateKey
    private let node: NodeID
    private let state: Mutex<State>
    private let newcomers: [LinkPurpose: AsyncStream<any PeerLink>.Continuation]
    private let streams: [LinkPurpose: AsyncStream<any PeerLink>]

    /// - Parameter identity: this host's own key, whose hash is its `NodeID`.
    /// - Throws: ``RuntimeError`` when a seed is of the wrong length.
    package init(identity: Ed25519.PrivateKey, primary: SwarmAuthority, accepted: [SwarmAuthority] = []) throws {
        guard let id = Bytes16(SHA256.hash(identity.publicKey.bytes)) else {
            throw RuntimeError(.internal, "a hash is shorter than it is")
        }
        self.identity = identity
        node = NodeID(id)
        state = Mutex(State(trust: try Self.trust(identity, node, primary, accepted)))
        var newcomers: [LinkPurpose: AsyncStream<any PeerLink>.Continuation] = [:]
        var streams: [LinkPurpose: AsyncStream<any PeerLink>] = [:]
        for purpose in LinkPurpose.allCases {
            (streams[purpose], newcomers[purpose]) = AsyncStream.makeStream(
                bufferingPolicy: .bufferingOldest(Limits.linksToAccept))
        }
        self.newcomers = newcomers
        self.streams = streams
    }

    private static func trust(
        _ identity: Ed25519.PrivateKey, _ node: NodeID, _ primary: SwarmAuthority, _ accepted: [SwarmAuthority]
    ) throws -> LinkTrust {
        do {
            return try LinkTrust(identity: identity, node: node, primary: primary, accepted: accepted)
        } catch {
            throw RuntimeError(.configuration, "the swarm's key makes no certificates", cause: error)
        }
    }

    private var trust: LinkTrust { state.withLock { $0.trust } }

    // MARK: Accepting

    package var accepted: AsyncStream<any PeerLink> { accepted(for: .swarm) }

    package func accepted(for purpose: LinkPurpose) -> AsyncStream<any PeerLink> {
        streams[purpose] ?? AsyncStream { $0.finish() }
    }

    /// Puts TLS in front of an accepted connection. Succeeds when the handshake is done: with the swarm's certificate,
    /// or nil where none was shown. Called on the connection's event loop.
    package func secure(_ channel: any Channel) -> EventLoopFuture<PeerCertificate?> {
        let promise = channel.eventLoop.makePromise(of: PeerCertificate?.self)
        let handshake = Handshake(trust)
        do {
            try channel.pipeline.syncOperations.addHandlers(
                [handshake.serverHandler(), HandshakeWatch(handshake, promise)], position: .first)
        } catch {
            promise.fail(error)
        }
        return promise.futureResult
    }

    /// Whether a TLS client that asks for this name is a host of some swarm: all of them, of every version, do so.
    package static func isServerName(_ name: String) -> Bool { LinkTrust.isServerName(name) }

    package func isDenied(_ node: NodeID) -> Bool { state.withLock { $0.denied.contains(node) } }

    /// Makes a link of an accepted connection that has become a WebSocket: the handlers that it needs. Called on the
    /// connection's event loop.
    package func takeLink(
        _ channel: any Channel, from peer: PeerCertificate, for purpose: LinkPurpose = .swarm
    ) -> [any ChannelHandler] {
        let (link, handlers) = WebSocketLink.make(on: channel, peer: peer, isDialed: false)
        keep(link, until: channel.closeFuture)
        switch newcomers[purpose]?.yield(link) {
        case .enqueued: break
        // Nobody takes links in, or too many came at once; the other side dials again.
        default: link.close()
        }
        return handlers
    }

    private func keep(_ link: WebSocketLink, until end: EventLoopFuture<Void>) {
        let id = ObjectIdentifier(link)
        state.withLock { $0.links[id] = link }
        end.whenComplete { [weak self] _ in self?.state.withLock { _ = $0.links.removeValue(forKey: id) } }
        // The rights may have changed since the handshake.
        if !isWelcome(link.peer) { link.close() }
    }

    private func isWelcome(_ peer: PeerCertificate) -> Bool {
        state.withLock { Self.isWelcome(peer, $0) }
    }

    private static func isWelcome(_ peer: PeerCertificate, _ state: State) -> Bool {
        !state.denied.contains(peer.node) && state.trust.memberships.contains { $0.swarm == peer.swarm }
    }

    // MARK: Dialing

    package func dial(_ address: NetworkAddress) async throws -> any PeerLink {
        try await connect(to: address, within: Limits.linkHandshake) { [self] in
            LinkRequest(.swarm, address: address, transport: self)
        }
    }

    package func open(
        _ purpose: LinkPurpose, to node: NodeID, at address: NetworkAddress
    ) async throws -> any PeerLink {
        try await connect(to: address, within: Limits.linkHandshake) { [self] in
            LinkRequest(purpose, address: address, node: node, transport: self)
        }
    }

    package func get(
        _ path: String, range: Range<Int>?, from address: NetworkAddress, node: NodeID
    ) async throws -> [UInt8] {
        if range?.isEmpty == true { return [] }
        return try await connect(to: address, within: Limits.peerRequest) { [self] in
            PeerRequest(path: path, range: range, address: address, node: node, isDenied: { self.isDenied($0) })
        }
    }

    /// Tries the swarms whose keys this host holds, the one in use first: during a rotation the other side may know
    /// only one of them.
    private func connect<E: PeerConnection.Exchange>(
        to address: NetworkAddress, within patience: Duration, _ exchange: @escaping @Sendable () -> E
    ) async throws -> E.Result {
        let trust = trust
        var first: LinkFailure?
        for membership in trust.memberships {
            do {
                let connection = PeerConnection(address: address, trust: trust, membership: membership)
                return try await connection.run(within: patience, exchange)
            } catch let failure as LinkFailure where failure.reason == .keyMismatch {
                first = first ?? failure
            }
        }
        throw first ?? LinkFailure(.keyMismatch, "this host holds no swarm key")
    }

    /// A link that this host opened, on its event loop.
    func dialed(_ link: WebSocketLink, on channel: any Channel) { keep(link, until: channel.closeFuture) }

    // MARK: Rights

    package func deny(_ nodes: Set<NodeID>) async {
        state.withLock { $0.denied = nodes }
        closeUnwelcome()
    }

    package func use(primary: SwarmAuthority, accepted: [SwarmAuthority]) async throws {
        let trust = try Self.trust(identity, node, primary, accepted)
        state.withLock { $0.trust = trust }
        closeUnwelcome()
    }

    private func closeUnwelcome() {
        let links = state.withLock { state in state.links.values.filter { !Self.isWelcome($0.peer, state) } }
        for link in links { link.close() }
    }
}
