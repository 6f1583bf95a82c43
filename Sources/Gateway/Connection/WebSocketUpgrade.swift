import Core
import HTTPTypes
import NIOCore
import NIOHTTP1
import NIOWebSocket

/// Turns a connection on which a request is being answered into a WebSocket (RFC 6455 §4.2): says 101, takes the HTTP
/// handlers away and puts others in their place.
struct WebSocketUpgrade: Sendable {
    private let channel: any Channel
    private let request: HTTPRequestHead

    /// Throws ``APIError``: 426 for a request that asks for no WebSocket, 400 for one that asks wrongly.
    init(_ exchange: Exchange) throws(APIError) {
        let fields = exchange.head.headerFields
        guard exchange.asksForWebSocket, let channel = exchange.client.channel else { throw .upgradeRequired }
        guard exchange.head.method == .get, !exchange.hasBody,
            let key = fields[.secWebSocketKey], key.utf8.count == 24, key.hasSuffix("==")
        else {
            throw APIError(400, code: "bad_request", "the request asks for a WebSocket without a proper handshake")
        }
        guard let version = fields[.secWebSocketVersion], version == "13" else { throw .upgradeRequired }
        self.channel = channel
        // Of the request only these two count for the answer.
        request = HTTPRequestHead(
            version: .http1_1, method: .GET, uri: "/",
            headers: ["sec-websocket-key": key, "sec-websocket-version": version])
    }

    /// Says 101 with `headers`, and hands the connection over to what `handlers` makes, on its event loop. Returns what
    /// it makes besides them. Throws when the client has gone.
    func perform<Result: Sendable>(
        headers: HTTPFields,
        handlers: @escaping @Sendable (any Channel) throws -> (handlers: [any ChannelHandler], result: Result)
    ) async throws -> Result {
        let upgrader = NIOWebSocketServerUpgrader(
            shouldUpgrade: { channel, _ in channel.eventLoop.makeSucceededFuture([:]) },
            upgradePipelineHandler: { channel, _ in channel.eventLoop.makeSucceededVoidFuture() })
        var answer: HTTPHeaders = [:]
        for field in headers { answer.add(name: field.name.rawName, value: field.value) }
        return try await upgrader.buildUpgradeResponse(
            channel: channel, upgradeRequest: request, initialResponseHeaders: answer
        ).hop(to: channel.eventLoop).flatMapThrowing { [channel] headers in
            let pipeline = channel.pipeline.syncOperations
            let connection = try pipeline.handler(type: ConnectionGuard.self)
            let made = try handlers(channel)
            try connection.giveUp(in: pipeline, saying: headers, to: made.handlers)
            return made.result
        }.get()
    }
}

extension Exchange {
    /// The client wants to leave HTTP for a WebSocket.
    var asksForWebSocket: Bool {
        let protocols = (head.headerFields[.upgrade] ?? "").lowercased().split(separator: ",")
        return protocols.contains { $0.drop { $0 == " " }.prefix { $0 != " " } == "websocket" }
    }
}

extension APIError {
    static var upgradeRequired: APIError {
        APIError(
            426, code: "upgrade_required", "this path is a WebSocket (RFC 6455, version 13); ask for one",
            headers: [("upgrade", "websocket"), ("sec-websocket-version", "13")])
    }
}
