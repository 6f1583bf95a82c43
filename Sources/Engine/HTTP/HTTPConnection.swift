import Core
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL

/// One connection to an upstream, HTTP/1.1, one request at a time. Redirects are not followed, nothing is asked for
/// compressed, no proxy and no cookie is known.
final class HTTPConnection: Sendable {
    private let channel: any Channel
    private let inbox: HTTPInbox

    private init(channel: any Channel, inbox: HTTPInbox) {
        self.channel = channel
        self.inbox = inbox
    }

    /// Connects, and shakes hands where the address is secure.
    ///
    /// - Throws: what the system says.
    static func open(
        _ target: HTTPTarget, security: NIOSSLContext?, bounds: EngineBounds
    ) async throws -> HTTPConnection {
        let inbox = HTTPInbox(unreadLimit: min(bounds.unreadBytes, 64 * 1024))
        let tick = TimeAmount(bounds.tick)
        // On the loop of whoever asks, if it is one: then no other thread takes part.
        let loop = MultiThreadedEventLoopGroup.currentEventLoop ?? MultiThreadedEventLoopGroup.singleton.next()
        let bootstrap = ClientBootstrap(group: loop)
            .connectTimeout(TimeAmount(bounds.connect))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    if let security, case .network(let host, _, _) = target.address {
                        try pipeline.addHandler(Self.tls(security, host: host))
                    }
                    // Nothing of a client's stands in these headers, and HTTPUpstream has looked at what does.
                    try pipeline.addHTTPClientHandlers(enableOutboundHeaderValidation: false)
                    try pipeline.addHandler(HTTPInboxHandler(inbox, tick: tick))
                }
            }
        let channel =
            switch target.address {
            case .socket(let path): try await bootstrap.connect(unixDomainSocketPath: path).get()
            case .network(let host, let port, _):
                try await bootstrap.channelOption(.socketOption(.tcp_nodelay), value: 1)
                    .connect(host: host, port: port).get()
            }
        return HTTPConnection(channel: channel, inbox: inbox)
    }

    private static func tls(_ security: NIOSSLContext, host: String) throws -> NIOSSLClientHandler {
        // An address is no server name: the certificate is then held against the address itself.
        let isAddress = host.contains(":") || host.allSatisfy { $0.isNumber || $0 == "." }
        return try NIOSSLClientHandler(context: security, serverHostname: isAddress ? nil : host)
    }

    /// Writes a request; the parts of the answer follow from ``next()``.
    func send(_ head: HTTPRequestHead, body: [UInt8], bounds: EngineBounds) {
        inbox.begin(bounds)
        // What goes wrong here closes the connection, and ``next()`` tells it.
        channel.write(HTTPClientRequestPart.head(head), promise: nil)
        if !body.isEmpty {
            channel.write(HTTPClientRequestPart.body(.byteBuffer(ByteBuffer(bytes: body))), promise: nil)
        }
        channel.writeAndFlush(HTTPClientRequestPart.end(nil), promise: nil)
    }

    /// The next part of the answer. A cancelled task closes the connection.
    ///
    /// - Throws: ``HTTPInbox/ConnectionLost``, `CancellationError`, ``RuntimeError`` `.timedOut`.
    func next() async throws -> HTTPInbox.Part {
        if !Task.isCancelled, let part = inbox.ready(resume: { channel.read() }) { return part }
        return try await withTaskCancellationHandler {
            try await inbox.next { channel.read() }
        } onCancel: {
            close()
        }
    }

    /// The caller runs on an event loop.
    static var isOnLoop: Bool { MultiThreadedEventLoopGroup.currentEventLoop != nil }

    /// No other thread need be woken to use it.
    var isOnThisThread: Bool { channel.eventLoop.inEventLoop }
    var isReusable: Bool { channel.isActive && inbox.isReusable }

    /// Drops the rest of the answer. False where the connection is of no further use.
    func drain() -> Bool {
        guard channel.isActive, inbox.drain() else { return false }
        channel.read()
        return true
    }

    func close() {
        inbox.fail(CancellationError())
        channel.close(promise: nil)
    }
}

/// Between the socket and the inbox.
private final class HTTPInboxHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundIn = HTTPClientRequestPart
    typealias OutboundOut = HTTPClientRequestPart

    private let inbox: HTTPInbox
    private let tick: TimeAmount
    private var watch: RepeatedTask?

    init(_ inbox: HTTPInbox, tick: TimeAmount) {
        self.inbox = inbox
        self.tick = tick
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let channel = context.channel
        watch = context.eventLoop.scheduleRepeatedTask(initialDelay: tick, delay: tick) { [inbox] _ in
            guard let error = inbox.verdict() else { return }
            inbox.fail(error)
            channel.close(promise: nil)
        }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        watch?.cancel()
        watch = nil
    }

    func read(context: ChannelHandlerContext) {
        if inbox.mayRead() { context.read() }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let part: HTTPInbox.Part =
            switch unwrapInboundIn(data) {
            case .head(let head): .head(head)
            case .body(let buffer): .body(buffer)
            case .end: .end
            }
        // An answer that nobody asked for: whoever is there does not speak HTTP as we do.
        if !inbox.put(part) { context.close(promise: nil) }
    }

    func channelInactive(context: ChannelHandlerContext) {
        inbox.fail(HTTPInbox.ConnectionLost())
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        inbox.fail(HTTPInbox.ConnectionLost())
        context.close(promise: nil)
    }
}
