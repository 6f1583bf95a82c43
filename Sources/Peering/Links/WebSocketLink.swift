import Core
import NIOCore
import NIOWebSocket
import Synchronization

/// One link: a WebSocket inside mutual TLS (swarm.md §5). The face that everyone else sees; ``LinkHandler`` does the
/// work on the connection's event loop.
final class WebSocketLink: PeerLink {
    let peer: PeerCertificate
    let address: NetworkAddress
    let isDialed: Bool

    private let outbox: LinkOutbox
    private let inbox: LinkInbox
    private let traffic: LinkTraffic
    private let handler: NIOLoopBound<LinkHandler>
    private let eventLoop: any EventLoop

    /// Called on the channel's event loop. Returns the link, and what belongs into the channel's pipeline for it.
    static func make(
        on channel: any Channel, peer: PeerCertificate, isDialed: Bool
    ) -> (link: WebSocketLink, handlers: [any ChannelHandler]) {
        let outbox = LinkOutbox()
        let inbox = LinkInbox()
        let traffic = LinkTraffic()
        let handler = LinkHandler(outbox: outbox, inbox: inbox, traffic: traffic, isDialed: isDialed)
        let remote = channel.remoteAddress
        let link = WebSocketLink(
            peer: peer, address: NetworkAddress(host: remote?.ipAddress ?? "", port: remote?.port ?? 0),
            isDialed: isDialed, outbox: outbox, inbox: inbox, traffic: traffic,
            handler: NIOLoopBound(handler, eventLoop: channel.eventLoop), eventLoop: channel.eventLoop)
        let decoder = ByteToMessageHandler(WebSocketFrameDecoder(maxFrameSize: Limits.linkMessageBytes))
        return (link, [decoder, handler])
    }

    private init(
        peer: PeerCertificate, address: NetworkAddress, isDialed: Bool, outbox: LinkOutbox, inbox: LinkInbox,
        traffic: LinkTraffic, handler: NIOLoopBound<LinkHandler>, eventLoop: any EventLoop
    ) {
        self.peer = peer
        self.address = address
        self.isDialed = isDialed
        self.outbox = outbox
        self.inbox = inbox
        self.traffic = traffic
        self.handler = handler
        self.eventLoop = eventLoop
    }

    var queuedBytes: Int { outbox.queuedBytes }
    var bytesSent: Int { traffic.sent.load(ordering: .relaxed) }
    var bytesReceived: Int { traffic.received.load(ordering: .relaxed) }

    func send(_ message: [UInt8]) {
        // The other side would close the link over a message that nobody may send.
        guard message.count <= Limits.linkMessageBytes else { return close() }
        switch outbox.put(message) {
        case .done: break
        case .fetch: eventLoop.execute { [handler] in handler.value.drain() }
        case .overflow: eventLoop.execute { [handler] in handler.value.giveUp() }
        }
    }

    func messages() -> AsyncThrowingStream<[UInt8], any Error> {
        AsyncThrowingStream { [inbox, eventLoop, handler] in
            try await inbox.next { eventLoop.execute { handler.value.readOn() } }
        }
    }

    func close() {
        inbox.discard()
        guard outbox.close() else { return }
        eventLoop.execute { [handler] in handler.value.leave() }
    }
}

/// What went over a link, in bytes inside TLS.
final class LinkTraffic: Sendable {
    let sent = Atomic<Int>(0)
    let received = Atomic<Int>(0)
}
