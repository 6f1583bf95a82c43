import Core
import NIOCore
import NIOPosix
import Synchronization

/// An upstream that answers byte for byte as a test wants it to, on loopback.
final class ScriptedServer: Sendable {
    struct Request: Sendable {
        var head: String
        var body: [UInt8]
        var json: JSON? { try? JSON.parse(body) }
        func has(_ line: String) -> Bool { head.lowercased().contains(line.lowercased()) }
    }

    enum Step: Sendable {
        case write(String)
        /// The same text again and again, as long as it is taken.
        case flood(String)
        case close
    }

    private struct State {
        var requests: [Request] = []
        var connections = 0
        var open = 0
        var flooded = 0
    }

    private let state = Mutex(State())
    private let listener: any Channel

    /// `script` gets each request and its number, from 1; without a step that closes, the connection stays open.
    init(_ script: @escaping @Sendable (Request, Int) -> [Step]) async throws {
        let share = Share()
        listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Handler(share: share, script: script))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        share.set(self)
    }

    deinit { listener.close(promise: nil) }

    var port: Int { listener.localAddress?.port ?? 0 }
    var url: String { "http://127.0.0.1:\(port)/v1" }
    /// All but those that only ask whether it is there.
    var requests: [Request] { state.withLock { $0.requests.filter { !$0.has("GET /v1/models") } } }
    var connections: Int { state.withLock { $0.connections } }
    var open: Int { state.withLock { $0.open } }
    var flooded: Int { state.withLock { $0.flooded } }

    /// The server, once it is made.
    private final class Share: Sendable {
        private let server = Mutex<Weak>(Weak())
        private struct Weak { weak var server: ScriptedServer? }
        func set(_ server: ScriptedServer) { self.server.withLock { $0.server = server } }
        func update(_ body: (inout State) -> Void) {
            server.withLock { $0.server }?.state.withLock { body(&$0) }
        }
        func count() -> Int { server.withLock { $0.server }?.requests.count ?? 0 }
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        private let share: Share
        private let script: @Sendable (Request, Int) -> [Step]
        private var received: [UInt8] = []
        private var flood: String?

        init(share: Share, script: @escaping @Sendable (Request, Int) -> [Step]) {
            self.share = share
            self.script = script
        }

        func channelActive(context: ChannelHandlerContext) {
            share.update {
                $0.connections += 1
                $0.open += 1
            }
        }

        func channelInactive(context: ChannelHandlerContext) {
            flood = nil
            share.update { $0.open -= 1 }
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            received += Array(unwrapInboundIn(data).readableBytesView)
            let text = String(decoding: received, as: UTF8.self)
            guard let end = text.firstRange(of: "\r\n\r\n") else { return }
            let head = String(text[..<end.lowerBound])
            let length =
                head.lowercased().split(separator: "\r\n").first { $0.hasPrefix("content-length: ") }
                .flatMap { Int($0.dropFirst("content-length: ".count)) } ?? 0
            let start = head.utf8.count + 4
            guard received.count >= start + length else { return }
            let request = Request(head: head, body: Array(received[start..<start + length]))
            received = []
            share.update { $0.requests.append(request) }
            for step in script(request, share.count()) {
                switch step {
                case .write(let text): context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: text)), promise: nil)
                case .close: context.close(promise: nil)
                case .flood(let text):
                    flood = text
                    pour(context)
                }
            }
        }

        func channelWritabilityChanged(context: ChannelHandlerContext) { pour(context) }

        private func pour(_ context: ChannelHandlerContext) {
            while let flood, context.channel.isWritable {
                context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: flood)), promise: nil)
                share.update { $0.flooded += flood.utf8.count }
            }
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    }
}

extension ScriptedServer.Step {
    /// A whole answer of JSON.
    static func json(_ status: String, _ body: String, headers: String = "") -> ScriptedServer.Step {
        .write(
            "HTTP/1.1 \(status)\r\ncontent-type: application/json\r\ncontent-length: \(body.utf8.count)\r\n\(headers)\r\n"
                + body)
    }

    static let eventHead = ScriptedServer.Step.write(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")

    /// One chunk of a body.
    static func chunk(_ text: String) -> ScriptedServer.Step {
        .write("\(String(text.utf8.count, radix: 16))\r\n\(text)\r\n")
    }

    static let end = ScriptedServer.Step.write("0\r\n\r\n")

    static func text(_ text: String) -> ScriptedServer.Step {
        .chunk("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\(JSON.string(text).text)}}]}\n\n")
    }

    static func finish(_ reason: String, usage: String? = "{\"prompt_tokens\":7,\"completion_tokens\":2}") -> [Self] {
        let count = usage.map { [Self.chunk("data: {\"choices\":[],\"usage\":\($0)}\n\n")] } ?? []
        return [.chunk("data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"\(reason)\"}]}\n\n")] + count
            + [.chunk("data: [DONE]\n\n"), .end]
    }

    static func answer(_ words: String...) -> [Self] {
        [.eventHead] + words.map { .text($0) } + finish("stop")
    }
}
