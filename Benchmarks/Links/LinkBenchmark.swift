import Core
import Cryptography
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOWebSocket
import Peering

/// What a link between two hosts costs, over loopback in one process: opening one, a small message there and back,
/// small messages in a stream, and large ones.
@main struct LinkBenchmark {
    static func main() async throws { try await run() }

    @concurrent private static func run() async throws {
        let authority = SwarmAuthority(
            swarm: SwarmID(Bytes16(high: 1, low: 2)), seed: Secret([UInt8](repeating: 3, count: 32)))
        let server = try LinkTransport(identity: Ed25519.PrivateKey(), primary: authority)
        let client = try LinkTransport(identity: Ed25519.PrivateKey(), primary: authority)
        let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.backlog, value: 256)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try LinkDoor.install(on: channel, for: server) }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        let address = NetworkAddress(host: "127.0.0.1", port: listener.localAddress?.port ?? 0)
        try await opening(client, server, address)
        let dialed = try await client.dial(address)
        guard let accepted = await next(server) else { return }
        try await echo(dialed, accepted)
        try await stream(dialed, accepted, size: 100, count: 300_000)
        try await stream(dialed, accepted, size: 64 * 1024, count: 8_000)
        try await listener.close()
    }

    @concurrent private static func next(_ server: LinkTransport) async -> (any PeerLink)? {
        for await link in server.accepted { return link }
        return nil
    }

    @concurrent private static func opening(_ client: LinkTransport, _ server: LinkTransport, _ address: NetworkAddress)
        async throws
    {
        var times: [Duration] = []
        for _ in 0..<300 {
            let start = ContinuousClock.now
            let link = try await client.dial(address)
            times.append(.now - start)
            let other = await next(server)
            link.close()
            other?.close()
        }
        show("TCP, mutual TLS and WebSocket", times)
    }

    @concurrent private static func echo(_ dialed: any PeerLink, _ accepted: any PeerLink) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            let count = 20_000
            group.addTask {
                var messages = accepted.messages().makeAsyncIterator()
                for _ in 0..<count { if let message = try await messages.next() { accepted.send(message) } }
            }
            var messages = dialed.messages().makeAsyncIterator()
            var times: [Duration] = []
            let message = [UInt8](repeating: 7, count: 100)
            for _ in 0..<count {
                let start = ContinuousClock.now
                dialed.send(message)
                _ = try await messages.next()
                times.append(.now - start)
            }
            show("100 bytes there and back", times)
            try await group.waitForAll()
        }
    }

    @concurrent private static func stream(_ dialed: any PeerLink, _ accepted: any PeerLink, size: Int, count: Int)
        async throws
    {
        let start = ContinuousClock.now
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                let message = [UInt8](repeating: 7, count: size)
                for _ in 0..<count {
                    while dialed.queuedBytes > Limits.linkQueueBytes / 2 { await Task.yield() }
                    dialed.send(message)
                }
            }
            group.addTask {
                var messages = accepted.messages().makeAsyncIterator()
                for _ in 0..<count { _ = try await messages.next() }
            }
            try await group.waitForAll()
        }
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        let rate = Double(count) / seconds
        print("\(size) bytes in a stream: \(Int(rate)) messages/s, \(Int(rate * Double(size) / 1e6)) MB/s")
    }

    private static func show(_ what: String, _ times: [Duration]) {
        let sorted = times.sorted()
        func microseconds(_ part: Double) -> Int {
            Int(sorted[min(sorted.count - 1, Int(Double(sorted.count) * part))] / .microseconds(1))
        }
        print("\(what): p50 \(microseconds(0.5)) us, p99 \(microseconds(0.99)) us")
    }
}

/// The accepting side without a gateway: every connection becomes a link.
private final class LinkDoor: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let transport: LinkTransport
    private let handshake: EventLoopFuture<PeerCertificate?>
    private let codec: [any RemovableChannelHandler]
    private var request: HTTPRequestHead?

    private init(
        _ transport: LinkTransport, _ handshake: EventLoopFuture<PeerCertificate?>,
        _ codec: [any RemovableChannelHandler]
    ) {
        self.transport = transport
        self.handshake = handshake
        self.codec = codec
    }

    static func install(on channel: any Channel, for transport: LinkTransport) throws {
        let encoder = HTTPResponseEncoder()
        let decoder = ByteToMessageHandler(HTTPRequestDecoder(leftOverBytesStrategy: .forwardBytes))
        let door = LinkDoor(transport, transport.secure(channel), [encoder, decoder])
        try channel.pipeline.syncOperations.addHandlers(encoder, decoder, door)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch Self.unwrapInboundIn(data) {
        case .head(let head): request = head
        case .body: break
        case .end:
            guard let request else { return }
            let upgrader = NIOWebSocketServerUpgrader(
                shouldUpgrade: { channel, _ in channel.eventLoop.makeSucceededFuture([:]) },
                upgradePipelineHandler: { channel, _ in channel.eventLoop.makeSucceededVoidFuture() })
            let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
            upgrader.buildUpgradeResponse(
                channel: context.channel, upgradeRequest: request, initialResponseHeaders: [:]
            )
            .and(handshake).whenSuccess { headers, peer in
                guard let peer else { return }
                let (door, context) = bound.value
                door.become(context, headers, peer)
            }
        }
    }

    private func become(_ context: ChannelHandlerContext, _ headers: HTTPHeaders, _ peer: PeerCertificate) {
        let head = HTTPResponseHead(version: .http1_1, status: .switchingProtocols, headers: headers)
        context.write(Self.wrapOutboundOut(.head(head)), promise: nil)
        context.writeAndFlush(Self.wrapOutboundOut(.end(nil)), promise: nil)
        let pipeline = context.pipeline.syncOperations
        do {
            try pipeline.addHandlers(transport.takeLink(context.channel, from: peer), position: .after(self))
        } catch {
            return context.close(promise: nil)
        }
        pipeline.removeHandler(context: context, promise: nil)
        for handler in codec { pipeline.removeHandler(handler, promise: nil) }
    }
}
