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
        let parts: NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart>
        let client: ClientConnection
        var channel: any Channel { parts.channel }
    }

    let responder: Responder
    let ledger: ConnectionLedger
    let limits: GatewayLimits

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        channel.eventLoop.makeCompletedFuture {
            let client = ClientConnection(
                peer: channel.remoteAddress?.ipAddress.flatMap { IPAddress($0) },
                local: channel.localAddress?.ipAddress.flatMap { IPAddress($0) })
            let isWelcome = ledger.enter(client.peer)
            channel.closeFuture.whenComplete { [ledger] _ in ledger.leave(client.peer) }
            let options = channel.syncOptions
            try options?.setOption(.tcpOption(.tcp_nodelay), value: 1)
            // A client that vanished without a word is found when it has acknowledged nothing for this long.
            try options?.setOption(
                .tcpOption(NIOBSDSocket.Option(rawValue: CInt(TCP_USER_TIMEOUT))),
                value: Int(clamping: limits.streamStall.components.seconds * 1_000))
            try options?.setOption(
                .writeBufferWaterMark, value: .init(low: Limits.streamBufferBytes / 4, high: Limits.streamBufferBytes))

            var decoder = NIOHTTPDecoderLimitConfiguration()
            decoder.maxHeaderFieldSize = Limits.headerFieldBytes
            decoder.maxHeaderListSize = Limits.headerBytes
            decoder.maxHeaderFieldCount = Limits.headerFields
            let connection = ConnectionGuard(
                client: client, limits: limits, isSurplus: !isWelcome, nodeID: responder.nodeID)
            let pipeline = channel.pipeline.syncOperations
            try pipeline.addHandler(ArrivalWatch(connection))
            try pipeline.configureHTTPServerPipeline(
                withPipeliningAssistance: false, withErrorHandling: false, withOutboundHeaderValidation: false,
                withEncoderConfiguration: .init(), withDecoderLimitConfiguration: decoder)
            try pipeline.addHandler(connection)
            try pipeline.addHandler(HTTP1ToHTTPServerCodec(secure: false))
            let parts = try NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart>(
                wrappingChannelSynchronously: channel, configuration: .init(isOutboundHalfClosureEnabled: true))
            return Value(parts: parts, client: client)
        }
    }

    func handle(value: Value, logger: Logger) async {
        let channel = value.channel
        do {
            try await withTaskCancellationHandler {
                try await value.parts.executeThenClose { inbound, outbound in
                    var parts = inbound.makeAsyncIterator()
                    while case .head(let head)? = try await parts.next() {
                        try await responder.respond(to: head, from: value.client, body: &parts, outbound)
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
