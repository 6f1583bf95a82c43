import Core
import Glibc
import Logging
import NIOCore
import NIOPosix
import Node
import ServiceLifecycle
import Testing

@testable import Gateway

/// Runs a gateway on a free loopback port for as long as `work` takes; `stop` begins its graceful shutdown.
func withGateway<Value: Sendable>(
    _ node: any NodeServices, swarm: (any SwarmServices)? = nil,
    configuration: GatewayConfiguration = GatewayConfiguration(host: "127.0.0.1", port: 0), door: PeerDoor? = nil,
    clientDoor: ClientDoor? = nil,
    work: @escaping @Sendable (_ port: Int, _ stop: @escaping @Sendable () async -> Void) async throws -> Value
) async throws -> Value {
    let (ports, announce) = AsyncStream<Int>.makeStream()
    var log = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
    log.logLevel = .critical
    let gateway = Gateway(
        configuration: configuration, node: node, swarm: swarm, door: door, clientDoor: clientDoor,
        metricsPage: { "igris_up 1\n" }, log: log,
        onListening: { _, port in
            announce.yield(port)
            announce.finish()
        })
    let group = ServiceGroup(configuration: .init(services: [.init(service: gateway)], logger: log))
    return try await withThrowingTaskGroup(of: Void.self) { tasks in
        tasks.addTask {
            defer { announce.finish() }
            try await group.run()
        }
        guard let port = await ports.first(where: { _ in true }) else {
            try await tasks.waitForAll()
            throw RuntimeError(.internal, "the gateway ended before it listened")
        }
        let value = try await work(port) { await group.triggerGracefulShutdown() }
        tasks.cancelAll()
        return value
    }
}

/// A TCP client that says exactly what the test says.
final class RawClient {
    struct Response {
        var status: Int
        var headers: [String: String]
        var body: String
    }

    struct Ended: Error {}

    private var parts: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
    private let outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
    private let channel: any Channel
    private var received: [UInt8] = []

    private init(
        _ parts: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator,
        _ outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>, _ channel: any Channel
    ) {
        self.parts = parts
        self.outbound = outbound
        self.channel = channel
    }

    /// `first` adds what stands between the test and the socket, TLS for instance.
    static func connected<Value: Sendable>(
        to port: Int, first: @escaping @Sendable (any Channel) throws -> Void = { _ in },
        _ work: (RawClient) async throws -> Value
    ) async throws -> Value {
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(host: "127.0.0.1", port: port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try first(channel)
                    return try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
                }
            }
        return try await channel.executeThenClose { inbound, outbound in
            try await work(RawClient(inbound.makeAsyncIterator(), outbound, channel.channel))
        }
    }

    func send(_ text: String) async throws { try await outbound.write(ByteBuffer(string: text)) }
    func send(_ bytes: [UInt8]) async throws { try await outbound.write(ByteBuffer(bytes: bytes)) }

    func close() async throws { try await channel.close() }

    /// Breaks the connection as a killed process does whose bytes were not all read: with a reset and no goodbye.
    func reset() async throws {
        let options = try #require(channel as? any SocketOptionProvider)
        try await options.setSoLinger(linger(l_onoff: 1, l_linger: 0)).get()
        try await channel.eventLoop.submit { [channel] in
            try channel.pipeline.syncOperations.context(handlerType: CutPoint.self).close(promise: nil)
        }.get()
    }

    /// Everything up to and with `marker`.
    func read(through marker: String) async throws -> String {
        while true {
            if let range = received.firstRange(of: Array(marker.utf8)) { return take(range.upperBound) }
            try await receive()
        }
    }

    /// Everything until the server closes.
    func readToEnd() async throws -> String {
        while let part = try await parts.next(isolation: #isolation) { received += Array(part.readableBytesView) }
        return take(received.count)
    }

    func response(hasBody: Bool = true) async throws -> Response {
        let head = try await read(through: "\r\n\r\n").split(separator: "\r\n")
        let status = head.first?.split(separator: " ").dropFirst().first.flatMap { Int($0) }
        var headers: [String: String] = [:]
        for line in head.dropFirst() {
            let pair = line.split(separator: ":", maxSplits: 1)
            guard pair.count == 2 else { continue }
            headers[pair[0].lowercased()] = String(pair[1].drop { $0 == " " })
        }
        var body = ""
        if hasBody, let length = headers["content-length"].flatMap({ Int($0) }) {
            body = try await read(bytes: length)
        } else if hasBody, headers["transfer-encoding"] == "chunked" {
            while let size = Int(try await read(through: "\r\n").dropLast(), radix: 16) {
                let chunk = try await read(bytes: size)
                _ = try await read(bytes: 2)
                guard size > 0 else { break }
                body += chunk
            }
        }
        return Response(status: status ?? 0, headers: headers, body: body)
    }

    private func read(bytes count: Int) async throws -> String {
        while received.count < count { try await receive() }
        return take(count)
    }

    private func receive() async throws {
        guard let part = try await parts.next(isolation: #isolation) else { throw Ended() }
        received += Array(part.readableBytesView)
    }

    private func take(_ count: Int) -> String {
        defer { received.removeFirst(count) }
        return String(decoding: received.prefix(count), as: UTF8.self)
    }
}

func get(_ path: String, host: String = "localhost", _ more: String = "") -> String {
    "GET \(path) HTTP/1.1\r\nHost: \(host)\r\n\(more)\r\n"
}

func post(_ body: String, _ more: String = "", path: String = "/v1/chat/completions") -> String {
    "POST \(path) HTTP/1.1\r\nHost: localhost\r\n\(more)Content-Length: \(body.utf8.count)\r\n\r\n\(body)"
}

func chat(_ more: String = "") -> String {
    #"{"model":"phi3","messages":[{"role":"user","content":"hi"}]\#(more.isEmpty ? "" : "," + more)}"#
}
