import Core
import NIOCore
import NIOWebSocket

/// A WebSocket to a client that is told things: text goes out, and of what comes in only pings and the goodbye count.
final class ClientSocket: Sendable {
    private let channel: any Channel

    fileprivate init(_ channel: any Channel) { self.channel = channel }

    /// Returns when the text is on its way, so that whoever waits for it makes no more than the client reads. Throws
    /// when the client has gone.
    func send(text: [UInt8]) async throws {
        let frame = WebSocketFrame(fin: true, opcode: .text, data: ByteBuffer(bytes: text))
        try await channel.writeAndFlush(frame)
    }

    /// Says goodbye and closes; what was sent arrives before.
    func close() async {
        channel.pipeline.fireUserInboundEventTriggered(ClientSocketHandler.Goodbye())
        // Fails only when the connection broke, which is a close as well.
        try? await channel.closeFuture.get()
    }

    /// The handlers of a WebSocket and its face.
    static func make(
        _ channel: any Channel, client: ClientConnection, limits: GatewayLimits
    ) -> (handlers: [any ChannelHandler], result: ClientSocket) {
        let handlers: [any ChannelHandler] = [
            WebSocketFrameEncoder(),
            ByteToMessageHandler(WebSocketFrameDecoder(maxFrameSize: Limits.clientSocketFrameBytes)),
            ClientSocketHandler(client: client, heartbeat: TimeAmount(limits.heartbeat)),
        ]
        return (handlers, ClientSocket(channel))
    }
}

/// Keeps one ``ClientSocket`` alive: pings it now and then, answers its pings, and ends it when it is silent, breaks
/// the protocol or leaves.
private final class ClientSocketHandler: ChannelInboundHandler {
    typealias InboundIn = WebSocketFrame
    typealias OutboundOut = WebSocketFrame

    struct Goodbye {}

    private let client: ClientConnection
    private let heartbeat: TimeAmount
    private var timer: RepeatedTask?
    /// Pings since the client was last heard.
    private var unanswered = 0
    private var isClosing = false

    init(client: ClientConnection, heartbeat: TimeAmount) {
        self.client = client
        self.heartbeat = heartbeat
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        timer = context.eventLoop.scheduleRepeatedTask(initialDelay: heartbeat, delay: heartbeat) { _ in
            bound.value.0.beat(bound.value.1)
        }
    }

    func handlerRemoved(context: ChannelHandlerContext) { timer?.cancel() }

    func channelInactive(context: ChannelHandlerContext) {
        timer?.cancel()
        client.markGone()
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let frame = Self.unwrapInboundIn(data)
        unanswered = 0
        // RFC 6455 §5.1: what a client sends is masked.
        guard frame.maskKey != nil, frame.reservedBits.isEmpty else { return close(context, .protocolError) }
        switch frame.opcode {
        case .ping:
            let pong = WebSocketFrame(fin: true, opcode: .pong, data: frame.unmaskedData)
            context.writeAndFlush(Self.wrapOutboundOut(pong), promise: nil)
        case .connectionClose: close(context, .normalClosure)
        default: break
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case is Goodbye: close(context, .normalClosure)
        case is ChannelShouldQuiesceEvent: close(context, .goingAway)
        case ChannelEvent.inputClosed: context.close(promise: nil)
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard let error = error as? NIOWebSocketError else { return context.close(promise: nil) }
        switch error {
        case .invalidFrameLength: close(context, .messageTooLarge)
        case .fragmentedControlFrame, .multiByteControlFrameLength: close(context, .protocolError)
        }
    }

    private func beat(_ context: ChannelHandlerContext) {
        guard !isClosing else { return context.close(promise: nil) }
        guard unanswered < 2 else {
            client.markGone()
            return context.close(promise: nil)
        }
        unanswered += 1
        context.writeAndFlush(
            Self.wrapOutboundOut(WebSocketFrame(fin: true, opcode: .ping, data: ByteBuffer())), promise: nil)
    }

    private func close(_ context: ChannelHandlerContext, _ code: WebSocketErrorCode) {
        guard !isClosing else { return }
        isClosing = true
        client.markGone()
        var data = ByteBuffer()
        data.write(webSocketErrorCode: code)
        let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
        context.writeAndFlush(
            Self.wrapOutboundOut(WebSocketFrame(fin: true, opcode: .connectionClose, data: data))
        ).whenComplete { _ in bound.value.close(promise: nil) }
    }
}
