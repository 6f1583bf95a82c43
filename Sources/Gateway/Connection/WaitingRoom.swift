import NIOCore

/// First in the pipeline until somebody serves the connection: keeps what comes meanwhile. Nothing is read for that long,
/// but a client that ends its half at once (`nc -N`, RFC 9112 §9.6 lets it) makes the system's word of the end read all
/// that was sent, and without anybody to take it the request would be lost and never answered.
///
/// It holds no more than the system's own buffer of the socket does.
final class WaitingRoom: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private var bytes: [ByteBuffer] = []
    private var hasEnded = false
    /// All passes: ``FirstByte`` sends what it has read from the very front once more.
    private var isOpen = false

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if isOpen { context.fireChannelRead(data) } else { bytes.append(Self.unwrapInboundIn(data)) }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        if isOpen { context.fireChannelReadComplete() }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if !isOpen, case ChannelEvent.inputClosed = event {
            hasEnded = true
        } else {
            context.fireUserInboundEventTriggered(event)
        }
    }

    func removeHandler(context: ChannelHandlerContext, removalToken: ChannelHandlerContext.RemovalToken) {
        isOpen = true
        for buffer in bytes { context.fireChannelRead(Self.wrapInboundOut(buffer)) }
        if !bytes.isEmpty { context.fireChannelReadComplete() }
        bytes = []
        if hasEnded { context.fireUserInboundEventTriggered(ChannelEvent.inputClosed) }
        context.leavePipeline(removalToken: removalToken)
    }
}
