import NIOCore

/// Waits for the first byte of a connection and decides by it: 0x16 begins a TLS handshake, everything else is left to
/// the HTTP parser.
final class FirstByte: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer

    private static let tlsHandshake: UInt8 = 0x16

    private let door: PeerDoor
    private let client: ClientConnection
    private let connection: ConnectionGuard

    init(door: PeerDoor, client: ClientConnection, connection: ConnectionGuard) {
        self.door = door
        self.client = client
        self.connection = connection
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let buffer = Self.unwrapInboundIn(data)
        guard let first = buffer.readableBytesView.first else { return }
        let pipeline = context.pipeline
        let channel = context.channel
        if first == Self.tlsHandshake { secure(channel) }
        pipeline.syncOperations.removeHandler(context: context, promise: nil)
        // From the very front: there TLS stands now, if it does.
        pipeline.syncOperations.fireChannelRead(data)
    }

    private func secure(_ channel: any Channel) {
        connection.handshakeBegan()
        let this = NIOLoopBound((client, connection), eventLoop: channel.eventLoop)
        door.secure(channel).whenComplete { result in
            let (client, connection) = this.value
            switch result {
            case .success(let certificate):
                client.handshakeEnded(with: certificate)
                connection.handshakeEnded()
            case .failure:
                client.markGone()
                channel.close(promise: nil)
            }
        }
    }
}
