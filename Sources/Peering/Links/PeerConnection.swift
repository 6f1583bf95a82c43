import Core
import Glibc
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import NIOTLS

/// Opens a connection to another host: TCP, mutual TLS, one HTTP request, and whatever its answer leads to. Everything
/// that can go wrong becomes a ``LinkFailure``.
struct PeerConnection: Sendable {
    let address: NetworkAddress
    let trust: LinkTrust
    let membership: LinkTrust.Membership

    /// What is made of the answer, on the connection's event loop.
    protocol Exchange: AnyObject, SendableMetatype {
        associatedtype Result: Sendable
        /// The handshake is done. Throws to end the connection.
        func begin(with peer: PeerCertificate) throws -> HTTPRequestHead
        /// Throws to end the connection.
        func received(_ part: HTTPClientResponsePart, on channel: any Channel) throws -> Outcome<Result>
    }

    enum Outcome<Result> {
        case more
        /// Done; the connection is closed.
        case done(Result)
        /// Done; the connection goes on with these handlers in HTTP's place.
        case becomes(Result, [any ChannelHandler])
    }

    /// Runs one exchange. Throws ``LinkFailure``, what the exchange throws, or `CancellationError`.
    func run<E: Exchange>(
        within patience: Duration, _ exchange: @escaping @Sendable () -> E
    ) async throws -> E.Result {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let promise = loop.makePromise(of: E.Result.self)
        let channel: any Channel
        do {
            // Of a name's several addresses some may be tried in vain, so that the handlers come only now.
            channel = try await bootstrap(loop).connect(host: address.host, port: address.port).flatMapThrowing {
                try self.begin(exchange(), on: $0, within: patience, promise)
                return $0
            }.get()
        } catch {
            let failure = ConnectionErrors.failure(of: error, at: address)
            promise.fail(failure)
            throw failure
        }
        return try await withTaskCancellationHandler {
            try await promise.futureResult.get()
        } onCancel: {
            promise.fail(CancellationError())
            channel.close(promise: nil)
        }
    }

    private func bootstrap(_ loop: any EventLoop) -> ClientBootstrap {
        ClientBootstrap(group: loop)
            .connectTimeout(TimeAmount(Limits.linkConnect))
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelOption(
                .tcpOption(NIOBSDSocket.Option(rawValue: CInt(TCP_USER_TIMEOUT))),
                value: Int(clamping: Limits.linkStall.components.seconds * 1_000)
            )
            .channelOption(
                .writeBufferWaterMark, value: .init(low: Limits.streamBufferBytes / 4, high: Limits.streamBufferBytes))
    }

    private func begin<E: Exchange>(
        _ exchange: E, on channel: any Channel, within patience: Duration, _ promise: EventLoopPromise<E.Result>
    ) throws {
        let handshake = Handshake(trust)
        let encoder = HTTPRequestEncoder()
        let decoder = ByteToMessageHandler(HTTPResponseDecoder(leftOverBytesStrategy: .forwardBytes))
        let handler = PeerConnectionHandler(
            exchange, handshake, address, promise, patience: TimeAmount(patience), codec: [encoder, decoder])
        // From the back to the front: TLS begins as soon as it is there, and what it says must be heard.
        let pipeline = channel.pipeline.syncOperations
        try pipeline.addHandlers(encoder, decoder, handler)
        try pipeline.addHandler(try handshake.clientHandler(membership), position: .first)
    }
}

/// Drives one ``PeerConnection/Exchange`` on its event loop.
private final class PeerConnectionHandler<E: PeerConnection.Exchange>: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundOut = HTTPClientRequestPart

    private let exchange: E
    private let handshake: Handshake
    private let address: NetworkAddress
    private let promise: EventLoopPromise<E.Result>
    private let patience: TimeAmount
    /// HTTP's handlers, in the order in which they leave.
    private var codec: [any RemovableChannelHandler]
    private var timer: Scheduled<Void>?
    private var isSecure = false
    private var isDone = false

    init(
        _ exchange: E, _ handshake: Handshake, _ address: NetworkAddress, _ promise: EventLoopPromise<E.Result>,
        patience: TimeAmount, codec: [any RemovableChannelHandler]
    ) {
        self.exchange = exchange
        self.handshake = handshake
        self.address = address
        self.promise = promise
        self.patience = patience
        self.codec = codec
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        timer = context.eventLoop.scheduleTask(in: patience) {
            let (connection, context) = bound.value
            let what = connection.isSecure ? "answer" : "finish the TLS handshake"
            connection.fail(
                context, LinkFailure(.timedOut, "\(connection.address) took the connection and did not \(what) in time")
            )
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        fail(context, ConnectionErrors.failure(of: ChannelError.eof, at: address, handshake, isSecure: isSecure))
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) { timer?.cancel() }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        fail(context, ConnectionErrors.failure(of: error, at: address, handshake, isSecure: isSecure))
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard case TLSUserEvent.handshakeCompleted = event else {
            return context.fireUserInboundEventTriggered(event)
        }
        isSecure = true
        do {
            // Without a member's certificate there is no handshake; the server always shows one.
            guard let peer = handshake.peer else { throw LinkFailure(.notIgris, "\(address) shows no certificate") }
            let head = try exchange.begin(with: peer)
            context.write(Self.wrapOutboundOut(.head(head)), promise: nil)
            context.writeAndFlush(Self.wrapOutboundOut(.end(nil)), promise: nil)
        } catch {
            fail(context, error)
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isDone else { return }
        do {
            switch try exchange.received(Self.unwrapInboundIn(data), on: context.channel) {
            case .more: break
            case .done(let result):
                isDone = true
                promise.succeed(result)
                context.close(promise: nil)
            case .becomes(let result, let handlers):
                isDone = true
                let pipeline = context.pipeline.syncOperations
                try pipeline.addHandlers(handlers, position: .after(self))
                pipeline.removeHandler(context: context, promise: nil)
                // The parser leaves last: it hands on what came behind the answer.
                for handler in codec { pipeline.removeHandler(handler, promise: nil) }
                promise.succeed(result)
            }
        } catch {
            fail(context, error)
        }
    }

    private func fail(_ context: ChannelHandlerContext, _ error: any Error) {
        guard !isDone else { return }
        isDone = true
        promise.fail(error)
        context.close(promise: nil)
    }
}
