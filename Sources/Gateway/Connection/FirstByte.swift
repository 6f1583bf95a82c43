import Guardian
import Metrics
import NIOCore

/// Waits for the first bytes of a connection and decides by them: 0x16 begins a TLS handshake, everything else is left
/// to the HTTP parser. Whom a handshake asks for by name tells hosts of the swarm from clients.
final class FirstByte: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer

    private static let tlsHandshake: UInt8 = 0x16

    private struct Handshakes {
        let done: Counter
        let failed: Counter

        init(of whom: String) {
            func counter(_ outcome: String) -> Counter {
                Counter(label: "igris_tls_handshakes_total", dimensions: [("of", whom), ("outcome", outcome)])
            }
            done = counter("done")
            failed = counter("failed")
        }
    }

    private static let ofPeers = Handshakes(of: "peers")
    private static let ofClients = Handshakes(of: "clients")

    private let doors: Doors
    private let client: ClientConnection
    private let connection: ConnectionGuard
    /// The handshake so far, where it takes more to know whom it asks for.
    private var begun: ByteBuffer?
    /// Looking again is of use once it is so long.
    private var wanted = 0

    init(doors: Doors, client: ClientConnection, connection: ConnectionGuard) {
        self.doors = doors
        self.client = client
        self.connection = connection
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var buffer = Self.unwrapInboundIn(data)
        guard let first = begun?.readableBytesView.first ?? buffer.readableBytesView.first else { return }
        if first == Self.tlsHandshake {
            if begun == nil { connection.handshakeBegan() }
            if var begun {
                begun.writeBuffer(&buffer)
                buffer = begun
            }
            switch buffer.readableBytes < wanted ? .later(wanted) : doors.choice(for: buffer) {
            case .later(let count):
                begun = buffer
                wanted = count
                return
            case .peer(let door):
                follow(door.secure(context.channel), context.channel, Self.ofPeers) { $0.handshakeEnded(with: $1) }
            case .client(let door):
                follow(door.secure(context.channel), context.channel, Self.ofClients) { client, certificate in
                    client.handshakeEnded(with: certificate.flatMap { ClientCertificate(der: $0) })
                }
            }
        }
        begun = nil
        let pipeline = context.pipeline
        pipeline.syncOperations.removeHandler(context: context, promise: nil)
        // From the very front: there TLS stands now, if it does.
        pipeline.syncOperations.fireChannelRead(NIOAny(buffer))
    }

    private func follow<Proof: Sendable>(
        _ handshake: EventLoopFuture<Proof>, _ channel: any Channel, _ count: Handshakes,
        _ ended: @escaping @Sendable (ClientConnection, Proof) -> Void
    ) {
        let this = NIOLoopBound((client, connection), eventLoop: channel.eventLoop)
        handshake.whenComplete { result in
            let (client, connection) = this.value
            switch result {
            case .success(let proof):
                count.done.increment()
                ended(client, proof)
                connection.handshakeEnded()
            case .failure:
                count.failed.increment()
                client.markGone()
                channel.close(promise: nil)
            }
        }
    }
}

/// Who takes a TLS handshake on the one port.
struct Doors: Sendable {
    enum Choice {
        case peer(PeerDoor)
        case client(ClientDoor)
        /// Not known before so many bytes have come.
        case later(Int)
    }

    /// Nil where this host is in no swarm.
    var peer: PeerDoor?
    /// Nil where clients are not spoken with over TLS.
    var client: ClientDoor?

    var isAny: Bool { peer != nil || client != nil }

    /// Of a connection that begins with these. There is some door.
    func choice(for bytes: ByteBuffer) -> Choice {
        guard let client else { return peer.map { .peer($0) } ?? .later(.max) }
        guard let peer else { return .client(client) }
        switch ClientHello.read(Array(bytes.readableBytesView.prefix(ClientHello.longest))) {
        case .needsMore(let count): return .later(count)
        case .name(let name): return name.map(peer.isName) == true ? .peer(peer) : .client(client)
        }
    }
}
