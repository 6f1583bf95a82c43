import Core
import Glibc
import NIOCore
import NIOWebSocket
import Synchronization

/// The inside of a link, on its connection's event loop: messages become frames and frames messages.
///
/// What waits is written at once while the socket takes it, everything that there is in one piece; so an idle link
/// delays nothing, and a busy one makes few large writes of many small messages.
final class LinkHandler: ChannelDuplexHandler {
    typealias InboundIn = WebSocketFrame
    typealias OutboundIn = Never
    typealias OutboundOut = ByteBuffer

    /// Frames are collected up to this size before they are handed to TLS.
    private static let pieceBytes = 128 * 1024

    private let outbox: LinkOutbox
    private let inbox: LinkInbox
    private let traffic: LinkTraffic
    private let isDialed: Bool

    private var context: ChannelHandlerContext?
    /// Taken out of the outbox, not yet written.
    private var pending = CircularBuffer<[UInt8]>()
    private var isDraining = false
    /// The first fragments of a message whose last has not come.
    private var fragments: [UInt8]?
    /// The reader of the messages is behind.
    private var isPaused = false
    /// A read that was asked for meanwhile.
    private var owesRead = false
    /// This side wants to close: once what waits is written, a goodbye follows.
    private var isLeaving = false
    /// The goodbye is written: nothing follows.
    private var isSilent = false
    /// Why the link broke, as far as that is known; nil while it has not, or was closed in good order.
    private var failure: LinkFailure?
    private var saidGoodbye = false

    init(outbox: LinkOutbox, inbox: LinkInbox, traffic: LinkTraffic, isDialed: Bool) {
        self.outbox = outbox
        self.inbox = inbox
        self.traffic = traffic
        self.isDialed = isDialed
    }

    // MARK: The connection's life

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        let options = context.channel.syncOptions
        // Without it a dead host is noticed by the keepalive of the mesh all the same, only not by the socket.
        try? options?.setOption(
            .tcpOption(NIOBSDSocket.Option(rawValue: CInt(TCP_USER_TIMEOUT))),
            value: Int(clamping: Limits.linkStall.components.seconds * 1_000))
        // Half a link is none: the end of either side is the end of both.
        try? options?.setOption(.allowRemoteHalfClosure, value: false)
        if !context.channel.isActive { end() }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        end()
        self.context = nil
    }

    func channelInactive(context: ChannelHandlerContext) {
        end()
        context.fireChannelInactive()
    }

    private func end() {
        isSilent = true
        _ = outbox.close()
        for message in pending { outbox.left(message.count) }
        pending = CircularBuffer()
        for message in outbox.takeAll() { outbox.left(message.count) }
        inbox.finish(saidGoodbye ? nil : failure ?? LinkFailure(.closed, "the connection with the host broke"))
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch error as? NIOWebSocketError {
        case .invalidFrameLength: refuse(.messageTooLarge, "sent a message that is too large")
        case .some: refuse(.protocolError, "sent a frame that is none")
        case nil: context.close(promise: nil)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case ChannelEvent.inputClosed: context.close(promise: nil)
        case is ChannelShouldQuiesceEvent: leave()
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    // MARK: In

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isSilent else { return }
        let frame = Self.unwrapInboundIn(data)
        traffic.received.wrappingAdd(
            frame.length + LinkFrame.headBytes(before: frame.length, isMasked: frame.maskKey != nil),
            ordering: .relaxed)
        // RFC 6455 §5.1: the side that dialed masks, the other does not.
        guard frame.reservedBits.isEmpty, (frame.maskKey == nil) == isDialed else {
            return refuse(.protocolError, "sent a frame that is not masked as it should be")
        }
        switch frame.opcode {
        case .binary:
            guard fragments == nil else { return refuse(.protocolError, "began a message within another") }
            let content = LinkFrame.content(of: frame)
            if frame.fin { deliver(content) } else { fragments = content }
        case .continuation:
            guard var message = fragments else { return refuse(.protocolError, "went on with no message") }
            guard frame.length <= Limits.linkMessageBytes - message.count else {
                return refuse(.messageTooLarge, "sent a message that is too large")
            }
            fragments = nil  // one owner, so that appending copies nothing
            message += LinkFrame.content(of: frame)
            if frame.fin { deliver(message) } else { fragments = message }
        // One who sends pings and reads no answers gets none.
        case .ping where context.channel.isWritable: write(.pong, LinkFrame.content(of: frame))
        case .ping: break
        case .pong: break
        case .connectionClose:
            saidGoodbye = true
            inbox.finish(nil)
            goodbye(.normalClosure)
        default: refuse(.unacceptableData, "sent a frame of a kind that links do not have")
        }
    }

    private func deliver(_ message: [UInt8]) {
        if !inbox.push(message) { isPaused = true }
    }

    func read(context: ChannelHandlerContext) {
        if isPaused { owesRead = true } else { context.read() }
    }

    /// The reader has caught up.
    func readOn() {
        isPaused = false
        guard owesRead, let context else { return }
        owesRead = false
        context.read()
    }

    // MARK: Out

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        drain()
        context.fireChannelWritabilityChanged()
    }

    /// Writes what waits, as far as the socket takes it.
    func drain() {
        pending.append(contentsOf: outbox.takeAll())
        // Writing may make the socket writable again, and call this once more from within.
        guard !isDraining, let context, !isSilent else { return }
        isDraining = true
        while context.channel.isWritable, !pending.isEmpty { writePiece(context) }
        isDraining = false
        if isLeaving, pending.isEmpty { goodbye(.normalClosure) }
    }

    private func writePiece(_ context: ChannelHandlerContext) {
        var count = 0
        var frames = 0
        for message in pending {
            let size = message.count + LinkFrame.headBytes(before: message.count, isMasked: isDialed)
            if frames > 0, count + size > Self.pieceBytes { break }
            count += size
            frames += 1
        }
        var buffer = context.channel.allocator.buffer(capacity: count)
        var content = 0
        for _ in 0..<frames {
            guard let message = pending.popFirst() else { break }
            content += message.count
            LinkFrame.write(.binary, message, isMasked: isDialed, into: &buffer)
        }
        traffic.sent.wrappingAdd(count, ordering: .relaxed)
        let written = content
        context.writeAndFlush(Self.wrapOutboundOut(buffer)).whenComplete { [outbox] _ in outbox.left(written) }
    }

    /// A control frame, ahead of what waits.
    private func write(_ opcode: WebSocketOpcode, _ content: [UInt8]) {
        guard let context, !isSilent else { return }
        var buffer = context.channel.allocator.buffer(capacity: content.count + 14)
        LinkFrame.write(opcode, content, isMasked: isDialed, into: &buffer)
        traffic.sent.wrappingAdd(buffer.readableBytes, ordering: .relaxed)
        context.writeAndFlush(Self.wrapOutboundOut(buffer), promise: nil)
    }

    // MARK: Ending

    /// This side closes: what waits is written first, but not waited for long.
    func leave() {
        guard let context, !isLeaving, !isSilent else { return }
        isLeaving = true
        saidGoodbye = true
        let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
        context.eventLoop.scheduleTask(in: TimeAmount(Limits.linkGoodbye)) { bound.value.close(promise: nil) }
        drain()
    }

    /// The other side has taken too little for too long.
    func giveUp() {
        failure = failure ?? LinkFailure(.closed, "the host takes in less than it is sent")
        context?.close(promise: nil)
    }

    private func refuse(_ code: WebSocketErrorCode, _ what: String) {
        guard !isSilent else { return }
        failure = LinkFailure(.closed, "the host \(what)")
        goodbye(code)
    }

    private func goodbye(_ code: WebSocketErrorCode) {
        guard let context, !isSilent else { return }
        let number = UInt16(webSocketErrorCode: code)
        write(.connectionClose, [UInt8(truncatingIfNeeded: number >> 8), UInt8(truncatingIfNeeded: number)])
        isSilent = true
        // TLS says goodbye behind it, and the socket closes once both are on their way.
        context.close(promise: nil)
    }
}
