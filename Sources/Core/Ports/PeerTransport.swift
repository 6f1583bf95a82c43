/// Who stands at the other end of a link, proven by its certificate.
package struct PeerCertificate: Hashable, Sendable {
    package var node: NodeID
    /// Its Ed25519 public key, 32 bytes.
    package var publicKey: [UInt8]
    /// The swarm whose authority issued it: during a rotation the old or the new one.
    package var swarm: SwarmID

    package init(node: NodeID, publicKey: [UInt8], swarm: SwarmID) {
        self.node = node
        self.publicKey = publicKey
        self.swarm = swarm
    }
}

/// What a link between two hosts is for. Each kind has a path of its own, so that one cannot hold up another.
package enum LinkPurpose: String, Hashable, Sendable, CaseIterable {
    /// Membership and replication: one between each pair of hosts.
    case swarm = "ws"
    /// Answers that one host writes for another.
    case work
    /// The bytes of a program on one host that talks with a program on another.
    case tunnel

    package var path: String { "/v1/swarm/\(rawValue)" }
}

/// One duplex connection with a peer that proved to hold the swarm's key: messages both ways, in order, until one
/// side closes.
package protocol PeerLink: AnyObject, Sendable {
    var peer: PeerCertificate { get }
    /// The other end's address as this host sees it: of an accepted link the port is not the one it listens on.
    var address: NetworkAddress { get }
    /// This host opened it.
    var isDialed: Bool { get }
    /// What waits to be written, in bytes.
    var queuedBytes: Int { get }
    /// Counted on the TLS socket's inside, framing included.
    var bytesSent: Int { get }
    var bytesReceived: Int { get }
    /// Puts a message of at most ``Limits/linkMessageBytes`` into the queue; never waits. After the close it does
    /// nothing. A link on which ``Limits/linkQueueBytes`` and one message more wait is closed: look at `queuedBytes`
    /// before sending what can be fetched later.
    func send(_ message: [UInt8])
    /// Messages as they come, at most ``Limits/linkMessageBytes`` each; ends when the link was closed in good order,
    /// and throws ``LinkFailure`` when it broke. One reader, whose slowness slows the other side (TCP), not memory.
    func messages() -> AsyncThrowingStream<[UInt8], any Error>
    /// What waits is still written, for a second at most; nothing more comes in.
    func close()
}

/// Why a host could not be linked with, in words that peers pages show.
package struct LinkFailure: Error, Hashable, Sendable, CustomStringConvertible {
    package enum Reason: String, Hashable, Sendable, CaseIterable {
        /// Nobody listens there.
        case refused
        /// No route, no answer.
        case unreachable
        case timedOut = "timed_out"
        /// It holds another swarm key.
        case keyMismatch = "key_mismatch"
        /// It denies this host, which was evicted.
        case evicted
        /// This host denies it.
        case denied
        /// What listens there is no igris-runtime.
        case notIgris = "not_igris"
        case closed
    }

    package var reason: Reason
    /// One sentence for the operator.
    package var message: String

    package init(_ reason: Reason, _ message: String) {
        self.reason = reason
        self.message = message
    }

    package var description: String { "\(reason.rawValue): \(message)" }
}

/// Opens and accepts links: mutual TLS 1.3, one WebSocket inside (swarm.md §11).
package protocol PeerTransport: Sendable {
    /// Links for the swarm that others opened. One reader.
    var accepted: AsyncStream<any PeerLink> { get }
    /// Links for another purpose that others opened. One reader each.
    func accepted(for purpose: LinkPurpose) -> AsyncStream<any PeerLink>
    /// Opens the link for the swarm. Throws ``LinkFailure``.
    func dial(_ address: NetworkAddress) async throws -> any PeerLink
    /// Opens a link for another purpose with a known host. Throws ``LinkFailure``: `.unreachable` where another host
    /// answers at this address.
    func open(_ purpose: LinkPurpose, to node: NodeID, at address: NetworkAddress) async throws -> any PeerLink
    /// `GET path` on a peer over the same mutual TLS, for what is too large for the link; `range` asks for a part.
    /// Throws ``LinkFailure``, or ``RuntimeError`` for a status other than 200 and 206.
    func get(_ path: String, range: Range<Int>?, from address: NetworkAddress, node: NodeID) async throws -> [UInt8]
    /// Identities that are refused after the handshake from now on, all others no more; their links are closed.
    func deny(_ nodes: Set<NodeID>) async
    /// From now on this host shows certificates of `primary`, and takes those of `primary` and `accepted`; where the
    /// other side asks for one of `accepted`, it shows that. Links with hosts of any other swarm are closed.
    /// Throws ``RuntimeError`` for a seed of another length than 32.
    func use(primary: SwarmAuthority, accepted: [SwarmAuthority]) async throws
}
