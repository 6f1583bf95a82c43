import Core
import Glibc
import Guardian
import HTTPTypes
import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1
import NIOHTTPTypes
import NIOHTTPTypesHTTP1
import NIOPosix

/// One accepted connection: how its bytes become requests, and the loop that answers them one after the other.
struct GatewayChannel: ServerChildChannel {
    struct Value: ServerChildChannelValue {
        let client: ClientConnection
        let channel: any Channel
    }

    let responder: Responder
    let ledger: ConnectionLedger
    let limits: GatewayLimits
    /// Without any the port speaks plain HTTP only.
    let doors: Doors
    private let executors = LoopExecutor.all(of: .singleton)

    init(responder: Responder, ledger: ConnectionLedger, limits: GatewayLimits, doors: Doors) {
        self.responder = responder
        self.ledger = ledger
        self.limits = limits
        self.doors = doors
    }

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        guard case .unixDomainSocket? = channel.localAddress else { return setup(channel, isOwnUser: false) }
        return AdminSocket.isOwnUser(at: channel).flatMap { setup(channel, isOwnUser: $0) }
    }

    private func setup(_ channel: any Channel, isOwnUser: Bool) -> EventLoopFuture<Value> {
        channel.eventLoop.makeCompletedFuture {
            let client = ClientConnection(
                peer: channel.remoteAddress?.ipAddress.flatMap { IPAddress($0) },
                local: channel.localAddress?.ipAddress.flatMap { IPAddress($0) }, isOwnUser: isOwnUser,
                channel: channel, executor: executors[ObjectIdentifier(channel.eventLoop)])
            let isWelcome = ledger.enter(client.peer)
            channel.closeFuture.whenComplete { [ledger] _ in ledger.leave(client.peer) }
            let options = channel.syncOptions
            if client.peer != nil {
                try options?.setOption(.tcpOption(.tcp_nodelay), value: 1)
                // A client that vanished without a word is found when it has acknowledged nothing for this long.
                try options?.setOption(
                    .tcpOption(NIOBSDSocket.Option(rawValue: CInt(TCP_USER_TIMEOUT))),
                    value: Int(clamping: limits.streamStall.components.seconds * 1_000))
            }
            try options?.setOption(
                .writeBufferWaterMark, value: .init(low: Limits.streamBufferBytes / 4, high: Limits.streamBufferBytes))

            let connection = ConnectionGuard(
                client: client, limits: limits, isSurplus: !isWelcome, nodeID: responder.nodeID)
            let pipeline = channel.pipeline.syncOperations
            try pipeline.addHandler(WaitingRoom())
            if doors.isAny {
                try pipeline.addHandler(FirstByte(doors: doors, client: client, connection: connection))
            }
            try Self.addCodec(around: connection, to: pipeline)
            // Nothing is read before somebody serves it: ``parts(of:)``.
            try options?.setOption(.autoRead, value: false)
            return Value(client: client, channel: channel)
        }
    }

    /// Not before the connection is served: a server that ends lets go of those that it has accepted and not served, and
    /// one of these values traps where it is let go of. So it does where it cannot be made: the client may have gone.
    private static func parts(
        of channel: any Channel
    ) async throws -> NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart> {
        try await channel.eventLoop.submit {
            guard channel.isActive else { throw ChannelError.ioOnClosedChannel }
            let pipeline = channel.pipeline.syncOperations
            let parts = try NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart>(
                wrappingChannelSynchronously: channel, configuration: .init(isOutboundHalfClosureEnabled: true))
            // Whatever comes of it, the value is used.
            if let room = try? pipeline.context(handlerType: WaitingRoom.self) {
                pipeline.removeHandler(context: room, promise: nil)
            }
            try? channel.syncOptions?.setOption(.autoRead, value: true)
            return parts
        }.get()
    }

    /// What makes requests of a connection's bytes and bytes of replies, with `connection` in its midst.
    static func addCodec(
        around connection: ConnectionGuard, to pipeline: ChannelPipeline.SynchronousOperations
    ) throws {
        var decoder = NIOHTTPDecoderLimitConfiguration()
        decoder.maxHeaderFieldSize = Limits.headerFieldBytes
        decoder.maxHeaderListSize = Limits.headerBytes
        decoder.maxHeaderFieldCount = Limits.headerFields
        let watch = ArrivalWatch(connection)
        let encoder = HTTPResponseEncoder()
        let parser = ByteToMessageHandler(
            HTTPRequestDecoder(leftOverBytesStrategy: .forwardBytes, limitConfiguration: decoder))
        let types = HTTP1ToHTTPServerCodec(secure: false)
        try pipeline.addHandlers(watch, encoder, parser, connection, types)
        connection.codec = [types, encoder, watch, parser]
    }

    func handle(value: Value, logger: Logger) async {
        let executor = executors[ObjectIdentifier(value.channel.eventLoop)]
        await withTaskExecutorPreference(executor) { await serve(value, on: executor, logger) }
    }

    private func serve(_ value: Value, on executor: LoopExecutor?, _ logger: Logger) async {
        let channel = value.channel
        do {
            try await withTaskCancellationHandler {
                try await Self.parts(of: channel).executeThenClose { inbound, outbound in
                    var parts = inbound.makeAsyncIterator()
                    let writer = LoopWriter(outbound, on: executor)
                    while case .head(let head)? = try await parts.next() {
                        try await responder.respond(to: head, from: value.client, body: &parts, writer)
                    }
                    // The guard says goodbye properly; closing here would cut off what is still on its way.
                    outbound.finish()
                    try await channel.closeFuture.get()
                }
            } onCancel: {
                channel.close(mode: .all, promise: nil)
            }
        } catch {
            // The client went away in the middle, which is its right.
            logger.trace("connection ended", metadata: ["error": "\(error)"])
        }
    }
}
