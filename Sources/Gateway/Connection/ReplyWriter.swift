import Core
import HTTPTypes
import NIOCore
import NIOHTTPTypes
import Synchronization

enum ContentType {
    static let json = "application/json"
    static let text = "text/plain; charset=utf-8"
    static let eventStream = "text/event-stream"
    static let bytes = "application/octet-stream"
}

/// A complete answer to one request.
struct Reply: Sendable {
    var status: HTTPResponse.Status = .ok
    var headers = HTTPFields()
    var body: [UInt8] = []

    init(status: HTTPResponse.Status = .ok, type: String, body: [UInt8]) {
        self.status = status
        self.body = body
        headers[.contentType] = type
    }

    init(status: HTTPResponse.Status = .ok, _ json: JSON) {
        self.init(status: status, type: ContentType.json, body: json.encoded)
    }

    init(_ error: APIError) {
        self.init(status: .init(code: error.status), type: ContentType.json, body: error.body)
        for header in error.headers {
            if let name = HTTPField.Name(header.name) { headers[name] = header.value }
        }
    }

    /// Nothing but a status.
    static func empty(_ status: HTTPResponse.Status) -> Reply {
        var reply = Reply(status: status, type: "", body: [])
        reply.headers[.contentType] = nil
        return reply
    }
}

/// Writes the one response of one request: whole, or as an event stream piece by piece. A write returns when the
/// connection can take more, so whoever waits for it asks the engine for no more than the client reads.
final class ReplyWriter: Sendable {
    private let outbound: LoopWriter
    /// Sent with every response: request id, host, date.
    private let common: HTTPFields
    /// The request was HEAD: the headers are those of GET, the body is left out.
    private let isHead: Bool
    private let status = Mutex<HTTPResponse.Status?>(nil)

    init(_ outbound: LoopWriter, common: HTTPFields, isHead: Bool) {
        self.outbound = outbound
        self.common = common
        self.isHead = isHead
    }

    /// Nil until the response has begun.
    var begun: HTTPResponse.Status? { status.withLock { $0 } }

    func send(_ reply: Reply) async throws {
        var reply = reply
        reply.headers[.contentLength] = reply.status == .noContent ? nil : "\(reply.body.count)"
        let head = begin(reply.status, reply.headers)
        if isHead || reply.body.isEmpty {
            try await outbound.write(contentsOf: [.head(head), .end(nil)])
        } else {
            try await outbound.write(contentsOf: [.head(head), .body(ByteBuffer(bytes: reply.body)), .end(nil)])
        }
    }

    /// Begins a stream of events, or of what `type` says, with `first`; `send(events:)` follows, and `finish()` once.
    func openStream(
        _ headers: HTTPFields, type: String = ContentType.eventStream, first: [UInt8] = []
    ) async throws {
        var headers = headers
        headers[.contentType] = type
        headers[.cacheControl] = "no-cache"
        // nginx and those who copied it collect a response before they pass it on; this tells them not to.
        headers[.accelBuffering] = "no"
        let head = HTTPResponsePart.head(begin(.ok, headers))
        if first.isEmpty {
            try await outbound.write(head)
        } else {
            try await outbound.write(contentsOf: [head, .body(ByteBuffer(bytes: first))])
        }
    }

    /// Begins a body of so many bytes; `send(part:)` follows until they are all sent, and `finish()` once.
    func openBody(_ status: HTTPResponse.Status, _ headers: HTTPFields, length: Int) async throws {
        var headers = headers
        headers[.contentLength] = "\(length)"
        try await outbound.write(.head(begin(status, headers)))
    }

    /// A HEAD request gets none.
    var sendsBody: Bool { !isHead }

    func send(part: [UInt8]) async throws {
        try await outbound.write(.body(ByteBuffer(bytes: part)))
    }

    /// Whole events only, so that a heartbeat may stand between any two writes.
    func send(events: [UInt8]) async throws {
        try await outbound.write(.body(ByteBuffer(bytes: events)))
    }

    func finish() async throws {
        try await outbound.write(.end(nil))
    }

    /// Leaves HTTP: the connection becomes a WebSocket to whoever `handlers` make it to. Throws ``APIError`` for a
    /// request that does not ask properly, else when the client has gone.
    func upgrade<Result: Sendable>(
        _ exchange: Exchange,
        to handlers: @escaping @Sendable (any Channel) throws -> (handlers: [any ChannelHandler], result: Result)
    ) async throws -> Result {
        let upgrade = try WebSocketUpgrade(exchange)
        status.withLock { $0 = .switchingProtocols }
        return try await upgrade.perform(headers: common, handlers: handlers)
    }

    /// A WebSocket that tells a client things.
    func openSocket(_ exchange: Exchange, limits: GatewayLimits) async throws -> ClientSocket {
        try await upgrade(exchange) { [client = exchange.client] in
            ClientSocket.make($0, client: client, limits: limits)
        }
    }

    private func begin(_ code: HTTPResponse.Status, _ headers: HTTPFields) -> HTTPResponse {
        status.withLock { $0 = code }
        return HTTPResponse(status: code, headerFields: common + headers)
    }
}

extension HTTPFields {
    /// What the subscript tells, without joining a single value with nothing.
    func value(of name: HTTPField.Name) -> String? {
        guard let first = firstIndex(where: { $0.name == name }) else { return nil }
        let others = self[index(after: first)...]
        return others.contains { $0.name == name } ? self[name] : self[first].value
    }

    /// Both; what `right` says of a name counts.
    static func + (left: HTTPFields, right: HTTPFields) -> HTTPFields {
        var sum = left
        sum.reserveCapacity(left.count + right.count)
        for field in right {
            // A field that is taken over as it is need not be looked at for illegal bytes again.
            if left.contains(field.name) { sum[fields: field.name] = [field] } else { sum.append(field) }
        }
        return sum
    }
}

extension HTTPField.Name {
    /// Names of this package's own; the literals are tokens, which is all that the initializer checks.
    private static func known(_ name: String) -> HTTPField.Name {
        guard let name = HTTPField.Name(name) else { preconditionFailure("\(name) cannot be a header's name") }
        return name
    }

    static let accelBuffering = known("X-Accel-Buffering")
    static let requestID = known("x-request-id")
    static let anthropicRequestID = known("request-id")
    static let conversationID = known("X-Conversation-Id")
    static let servedBy = known("X-Igris-Served-By")
    static let routeReason = known("X-Igris-Route-Reason")
    static let replicas = known("X-Igris-Replicas")
    static let context = known("X-Igris-Context")
    static let stream = known("X-Igris-Stream")
    static let lastEventID = known("Last-Event-ID")
    static let turnPriority = known("X-Igris-Priority")
    static let turnDeadline = known("X-Igris-Deadline")
    static let apiKey = known("x-api-key")
    static let idempotencyKey = known("Idempotency-Key")
    static let stainlessRetryCount = known("x-stainless-retry-count")
    static let shouldRetry = known("x-should-retry")
}
