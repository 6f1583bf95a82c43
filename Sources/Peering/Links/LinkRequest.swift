import Core
import NIOCore
import NIOHTTP1
import NIOWebSocket

/// Asks another host for a link: `GET /v1/swarm/ws` (or the path of another purpose) and its 101.
final class LinkRequest: PeerConnection.Exchange {
    private let purpose: LinkPurpose
    private let address: NetworkAddress
    /// Who must answer; nil where anyone of the swarm will do.
    private let node: NodeID?
    private let transport: LinkTransport
    private let upgrader = NIOWebSocketClientUpgrader { channel, _ in channel.eventLoop.makeSucceededVoidFuture() }
    private var peer: PeerCertificate?
    private var isAccepted = false

    init(_ purpose: LinkPurpose, address: NetworkAddress, node: NodeID? = nil, transport: LinkTransport) {
        self.purpose = purpose
        self.address = address
        self.node = node
        self.transport = transport
    }

    func begin(with peer: PeerCertificate) throws -> HTTPRequestHead {
        if let node, peer.node != node {
            throw LinkFailure(
                .unreachable, "host \(node) is not at \(address) any more: host \(peer.node) answers there")
        }
        guard !transport.isDenied(peer.node) else {
            throw LinkFailure(.denied, "host \(peer.node) at \(address) was evicted from this swarm")
        }
        self.peer = peer
        var headers: HTTPHeaders = ["host": "\(address)", "connection": "upgrade", "upgrade": "websocket"]
        upgrader.addCustom(upgradeRequestHeaders: &headers)
        return HTTPRequestHead(version: .http1_1, method: .GET, uri: purpose.path, headers: headers)
    }

    func received(
        _ part: HTTPClientResponsePart, on channel: any Channel
    ) throws -> PeerConnection.Outcome<WebSocketLink> {
        switch part {
        case .head(let head) where head.status == .switchingProtocols:
            guard upgrader.shouldAllowUpgrade(upgradeResponse: head) else {
                throw LinkFailure(.notIgris, "\(address) does not complete the WebSocket handshake")
            }
            isAccepted = true
            return .more
        case .head(let head): throw refusal(head.status)
        case .body: return .more
        case .end:
            guard isAccepted, let peer else { throw refusal(.ok) }
            let (link, handlers) = WebSocketLink.make(on: channel, peer: peer, isDialed: true)
            transport.dialed(link, on: channel)
            return .becomes(link, handlers)
        }
    }

    private func refusal(_ status: HTTPResponseStatus) -> LinkFailure {
        switch status {
        case .unauthorized: LinkFailure(.keyMismatch, "\(address) does not know this host's certificate")
        case .forbidden: LinkFailure(.evicted, "\(address) refuses this host: it was evicted from the swarm")
        case .notFound, .upgradeRequired:
            LinkFailure(.notIgris, "\(address) takes no links: its igris-runtime is of another version")
        default:
            LinkFailure(.closed, "\(address) refuses the link (HTTP \(status.code)); it may have too many connections")
        }
    }
}
