import Core
import NIOCore
import NIOHTTP1

/// Stands between the HTTP parser and everything else on one connection. It refuses what is not clean HTTP/1.1, ends
/// connections that dawdle, writes heartbeats into silent event streams, and tells when the client has gone.
///
/// An idle timer alone would let a client live for ever that sends a byte now and then; so the head as a whole has a
/// deadline (hardening.md §3).
final class ConnectionGuard: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    /// How long a closing connection waits for the client to read our last words.
    private static let lingering = TimeAmount.seconds(2)
    private static let heartbeat: StaticString = ":\n\n"
    /// Of a request's first line, to know whose dialect it speaks when it is refused unread.
    private static let lineBytes = 256

    private let client: ClientConnection
    private let limits: GatewayLimits
    /// The connection is one too many.
    private let isSurplus: Bool
    private let nodeID: NodeID

    /// Requests whose head was passed on and whose response has not ended.
    private var openRequests = 0
    private var isReadingRequest = false
    /// The request is of HTTP/1.0, whose clients know no chunks.
    private var isOld = false
    private var isResponding = false
    /// A response that has begun is an event stream.
    private var isStreaming = false
    /// What comes in is dropped: it cannot be made sense of.
    private var isDeaf = false
    /// Nothing more is answered after the requests that are open now.
    private var closesWhenDone = false
    /// The response being written says that it is the last.
    private var closesAfterResponse = false
    /// Nothing more is written; what has been is still on its way.
    private var closingSince: NIODeadline?
    /// All is sent, and the client is given a moment to read it.
    private var lingeringSince: NIODeadline?
    private var headSince: NIODeadline?
    /// How the request begins that is being read.
    private var line: [UInt8] = []
    /// The TLS handshake has begun and not ended.
    private var isSecuring = false
    private var unwritableSince: NIODeadline?
    private var lastRead = NIODeadline.now()
    private var lastWrite = NIODeadline.now()
    /// Written to the socket in this turn of the event loop; what follows goes together at the turn's end.
    private var hasFlushed = false
    private var wantsFlush = false
    private var context: ChannelHandlerContext?
    private var timer: (at: NIODeadline, task: Scheduled<Void>)?

    init(client: ClientConnection, limits: GatewayLimits, isSurplus: Bool, nodeID: NodeID) {
        self.client = client
        self.limits = limits
        self.isSurplus = isSurplus
        self.nodeID = nodeID
    }

    // MARK: The connection's life

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if context.channel.isActive { begin(context) }
    }

    func channelActive(context: ChannelHandlerContext) {
        begin(context)
        context.fireChannelActive()
    }

    private func begin(_ context: ChannelHandlerContext) {
        guard timer == nil else { return }
        lastRead = .now()
        if isSurplus { refuse(context, .tooManyConnections) } else { watch(context) }
    }

    func channelInactive(context: ChannelHandlerContext) {
        timer?.task.cancel()
        client.markGone()
        context.fireChannelInactive()
    }

    /// The connection speaks another protocol from now on, and is watched by that one's handlers.
    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        // One of them knows this guard: each would keep the other, and with them the connection, for ever.
        codec = []
        timer?.task.cancel()
        timer = nil
    }

    /// The handshake and the first request's head share one deadline up to here; a request has its own.
    func handshakeBegan() {
        isSecuring = true
        headSince = .now()
        // TLS hands on nothing until it is done: no other event would look at the deadline.
        if let context { watch(context) }
    }

    func handshakeEnded() {
        isSecuring = false
        headSince = nil
        lastRead = .now()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case ChannelEvent.inputClosed:
            client.markGone()
            if closingSince != nil {
                context.close(promise: nil)
            } else {
                context.fireUserInboundEventTriggered(event)
            }
        case is ChannelShouldQuiesceEvent:
            closesWhenDone = true
            if openRequests == 0 { linger(context) }
        default:
            context.fireUserInboundEventTriggered(event)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch error as? HTTPParserError {
        case .headerOverflow: refuse(context, .headersTooLarge)
        case .invalidVersion: refuse(context, .versionNotSupported)
        case .some: refuse(context, .malformed)
        // More came behind what the parser gave up at. Answers that are still due before that are not to be lost.
        case nil where error is ByteToMessageDecoderError: refuse(context, .malformed)
        case nil:
            // The socket broke; nothing can be said on it any more.
            client.markGone()
            context.close(promise: nil)
        }
    }

    // MARK: Reading

    /// Called for every read, before the parser sees it.
    func bytesArrived(_ bytes: ByteBufferView) {
        guard openRequests == 0, !isReadingRequest else { return }
        if headSince == nil {
            headSince = .now()
            line = []
        }
        if line.count < Self.lineBytes { line += bytes.prefix(Self.lineBytes - line.count) }
    }

    /// Whose words a refusal speaks, as far as the request tells.
    private var dialect: Dialect {
        let parts = line.split(separator: UInt8(ascii: " "), maxSplits: 2)
        guard parts.count > 1 else { return .openAI }
        return Dialect(path: String(decoding: parts[1], as: UTF8.self).prefix { $0 != "?" && !$0.isNewline })
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard closingSince == nil, !isDeaf else { return }
        lastRead = .now()
        switch Self.unwrapInboundIn(data) {
        case .head(let head):
            headSince = nil
            framing = .none
            if let problem = APIError.problem(in: head) { return refuse(context, problem) }
            openRequests += 1
            isReadingRequest = true
            // Behind a request that offers another protocol (curl and Java offer HTTP/2) the parser stops.
            // One of HTTP/1.0 is the last of its connection, which ends a body of unknown length.
            isOld = head.version == .http1_0
            if head.headers.contains(name: "transfer-encoding") {
                framing = .chunked
            } else if let length = head.bodyLength {
                framing = .counted(length)
            }
            if isOld || !head.isKeepAlive || head.headers.contains(name: "upgrade") { closesWhenDone = true }
        case .body: break
        case .end: isReadingRequest = false
        }
        context.fireChannelRead(data)
        watch(context)
    }

    /// How the body of the request whose head came last is framed.
    private(set) var framing = ChunkBounds.Framing.none

    func refuse(_ problem: APIError, in pipeline: ChannelPipeline.SynchronousOperations) {
        // Without a context the connection speaks HTTP no more.
        guard let context = try? pipeline.context(handler: self) else { return }
        refuse(context, problem)
        isDeaf = true
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        context.fireChannelReadComplete()
        watch(context)
    }

    // MARK: Writing

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard closingSince == nil else {
            promise?.fail(ChannelError.outputClosed)
            return
        }
        lastWrite = .now()
        switch Self.unwrapOutboundIn(data) {
        case .head(var head) where head.status.code >= 200:
            isResponding = true
            if isOld { head.version = .http1_0 }
            isStreaming = head.headers.first(name: "content-type") == ContentType.eventStream
            closesAfterResponse = head.headers.contains(name: "connection") || (closesWhenDone && openRequests == 1)
            if closesAfterResponse { head.headers.replaceOrAdd(name: "connection", value: "close") }
            context.write(Self.wrapOutboundOut(.head(head)), promise: promise)
            watch(context)
        case .end:
            isResponding = false
            isStreaming = false
            openRequests -= 1
            context.write(data, promise: promise)
            if closesAfterResponse || (closesWhenDone && openRequests == 0) { linger(context) } else { watch(context) }
        default:
            context.write(data, promise: promise)
        }
    }

    /// A first piece goes at once. A fast upstream's next ones would each cost a call of the system.
    func flush(context: ChannelHandlerContext) {
        guard !hasFlushed else {
            wantsFlush = true
            return
        }
        hasFlushed = true
        context.flush()
        let this = NIOLoopBound(self, eventLoop: context.eventLoop)
        context.eventLoop.execute {
            this.value.hasFlushed = false
            if this.value.takeFlush() { this.value.context?.flush() }
        }
    }

    private func takeFlush() -> Bool {
        defer { wantsFlush = false }
        return wantsFlush
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        unwritableSince = context.channel.isWritable ? nil : .now()
        context.fireChannelWritabilityChanged()
        watch(context)
    }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        guard mode == .output else {
            if takeFlush() { context.flush() }
            return context.close(mode: mode, promise: promise)
        }
        promise?.succeed()
        linger(context)
    }

    // MARK: Ending

    /// Answers with our own words, and closes. Requests that came before keep their answers: the connection ends
    /// behind those then.
    private func refuse(_ context: ChannelHandlerContext, _ problem: APIError) {
        guard closingSince == nil else { return }
        if openRequests > (isReadingRequest ? 1 : 0) {
            closesWhenDone = true
            isDeaf = true
            return
        }
        if isResponding { return context.close(promise: nil) }
        let id = Exchange.newID()
        let dialect = dialect
        let body = dialect.reply(problem, requestID: id).body
        var headers: HTTPHeaders = [
            "content-type": ContentType.json, "content-length": "\(body.count)", "connection": "close",
            "x-request-id": id, "X-Igris-Served-By": "\(nodeID)",
        ]
        if dialect == .anthropic { headers.add(name: "request-id", value: id) }
        var head = HTTPResponseHead(version: .http1_1, status: .init(statusCode: problem.status), headers: headers)
        for (name, value) in problem.headers { head.headers.add(name: name, value: value) }
        context.write(Self.wrapOutboundOut(.head(head)), promise: nil)
        context.write(Self.wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: body)))), promise: nil)
        context.write(Self.wrapOutboundOut(.end(nil)), promise: nil)
        linger(context)
        // Whoever waits for the rest of the request waits in vain.
        client.markGone()
    }

    /// Sends what is written, says goodbye, and gives the client a moment to read: closing while unread bytes wait
    /// would reset the connection and might destroy the response on its way.
    private func linger(_ context: ChannelHandlerContext) {
        guard closingSince == nil else { return }
        closingSince = .now()
        context.flush()
        let sent = context.eventLoop.makePromise(of: Void.self)
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        sent.futureResult.whenComplete { _ in
            let (connection, context) = bound.value
            connection.lingeringSince = .now()
            connection.watch(context)
        }
        context.close(mode: .output, promise: sent)
        watch(context)
    }

    /// The handlers around this one that make HTTP of the bytes, in the order in which they leave: the parser as the
    /// last, because it hands on what it has not read.
    var codec: [any RemovableChannelHandler] = []

    /// Says 101 and leaves the connection to `handlers`, which take its bytes. What the client has sent behind its
    /// request goes to them.
    func giveUp(
        in pipeline: ChannelPipeline.SynchronousOperations, saying headers: HTTPHeaders,
        to handlers: [any ChannelHandler]
    ) throws {
        guard closingSince == nil, openRequests == 1, !isReadingRequest, !isResponding else {
            throw ChannelError.inputClosed
        }
        let context = try pipeline.context(handler: self)
        let codec = codec
        let head = HTTPResponseHead(version: .http1_1, status: .switchingProtocols, headers: headers)
        context.write(Self.wrapOutboundOut(.head(head)), promise: nil)
        context.writeAndFlush(Self.wrapOutboundOut(.end(nil)), promise: nil)
        try pipeline.addHandlers(handlers, position: .before(self))
        pipeline.removeHandler(self, promise: nil)
        for handler in codec { pipeline.removeHandler(handler, promise: nil) }
    }

    // MARK: Deadlines

    private enum Expiry {
        case close
        case refuse(APIError)
        case beat
    }

    /// The next moment at which patience ends, and what to do then.
    private var deadline: (at: NIODeadline, Expiry)? {
        if let lingeringSince { return (lingeringSince + Self.lingering, .close) }
        if let closingSince { return (closingSince + TimeAmount(limits.streamStall), .close) }
        if let unwritableSince { return (unwritableSince + TimeAmount(limits.streamStall), .close) }
        if isReadingRequest {
            // With an earlier response still being written, nobody reads this body yet.
            return openRequests > 1 ? nil : (lastRead + TimeAmount(limits.bodyIdle), .refuse(.bodyTooSlow))
        }
        if let headSince {
            return (headSince + TimeAmount(limits.headerDeadline), isSecuring ? .close : .refuse(.headTooSlow))
        }
        if openRequests == 0 { return (max(lastRead, lastWrite) + TimeAmount(limits.keepAliveIdle), .close) }
        if isStreaming { return (lastWrite + TimeAmount(limits.heartbeat), .beat) }
        return nil
    }

    /// Sees to it that the timer fires no later than the next deadline. Deadlines mostly move away: a timer that is
    /// early only looks again, so that a token costs no timer.
    private func watch(_ context: ChannelHandlerContext) {
        guard context.channel.isActive, let next = deadline?.at else { return }
        if let timer {
            if timer.at <= next { return }
            timer.task.cancel()
        }
        let context = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        let task = context.value.1.eventLoop.scheduleTask(deadline: next) { context.value.0.expired(context.value.1) }
        timer = (at: next, task: task)
    }

    private func expired(_ context: ChannelHandlerContext) {
        timer = nil
        guard context.channel.isActive else { return }
        if let (at, expiry) = deadline, at <= .now() {
            switch expiry {
            case .close:
                client.markGone()
                return context.close(promise: nil)
            case .refuse(let problem):
                return refuse(context, problem)
            case .beat:
                lastWrite = .now()
                let beat = ByteBuffer(staticString: Self.heartbeat)
                context.writeAndFlush(Self.wrapOutboundOut(.body(.byteBuffer(beat))), promise: nil)
            }
        }
        watch(context)
    }
}
