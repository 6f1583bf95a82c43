import Glibc
import NIOCore

/// First in the pipeline of a listening socket. While as many connections are open as may be, those who are told so
/// included, and while the system has no descriptor left for one more, no further one is accepted: they wait at the
/// door, and what is open keeps the descriptors that it needs. No failure to accept is the end of the server.
final class AcceptPause: ChannelDuplexHandler {
    typealias InboundIn = any Channel
    typealias OutboundIn = Never

    private static let pause = TimeAmount.milliseconds(100)

    private let isFull: @Sendable () -> Bool
    private var pausedUntil = NIODeadline.uptimeNanoseconds(0)
    private var isWaiting = false

    init(isFull: @escaping @Sendable () -> Bool) { self.isFull = isFull }

    /// To be added from anywhere, once the socket listens.
    static func add(to channel: any Channel, isFull: @escaping @Sendable () -> Bool) async {
        // Fails only where the server has ended already.
        try? await channel.eventLoop.submit {
            try channel.pipeline.syncOperations.addHandler(AcceptPause(isFull: isFull), position: .first)
        }.get()
    }

    func read(context: ChannelHandlerContext) {
        guard !isWaiting else { return }
        if isFull() { pausedUntil = .now() + Self.pause }
        guard pausedUntil > .now() else { return context.read() }
        isWaiting = true
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        context.eventLoop.scheduleTask(deadline: pausedUntil) {
            let (handler, context) = bound.value
            handler.isWaiting = false
            handler.read(context: context)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // EMFILE, ENFILE, ENOBUFS, ENOMEM: nothing but time helps. ECONNABORTED and the like are the client's affair.
        if let code = (error as? IOError)?.errnoCode, code != ECONNABORTED { pausedUntil = .now() + Self.pause }
    }
}
