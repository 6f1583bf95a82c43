import NIOCore

/// Sits before the parser, tells the guard that bytes have come, and bounds what the parser itself does not.
final class ArrivalWatch: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let connection: ConnectionGuard
    private var bounds = ChunkBounds()

    init(_ connection: ConnectionGuard) { self.connection = connection }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var buffer = Self.unwrapInboundIn(data)
        connection.bytesArrived(buffer.readableBytesView)
        while buffer.readableBytes > 0 {
            switch buffer.withUnsafeReadableBytes({ bounds.follow($0) }) {
            case .pass:
                context.fireChannelRead(Self.wrapInboundOut(buffer))
                return
            case .headEnds(let count):
                guard let head = buffer.readSlice(length: count) else { return }
                // The parser reads it now, and the guard sees it.
                context.fireChannelRead(Self.wrapInboundOut(head))
                bounds.headEnded(connection.framing)
            case .tooLong: return connection.refuse(.chunkTooLong, in: context.pipeline.syncOperations)
            case .strangeLine(let count):
                if count > 0, let before = buffer.readSlice(length: count) {
                    context.fireChannelRead(Self.wrapInboundOut(before))
                }
                return connection.refuse(.malformed, in: context.pipeline.syncOperations)
            }
        }
    }
}
