import ArgumentParser
import Core
import NIOCore
import NIOHTTP1
import NIOPosix
import Settings

/// Where the commands find a daemon. The API key comes from $IGRIS_API_KEY: an argument could be read by every user.
struct DaemonOptions: ParsableArguments {
    @Option(help: "The daemon's address, http://HOST:PORT; also $IGRIS_URL.")
    var url: String?

    @Option(help: "The port of a daemon on this machine.")
    var port: String?

    @Option(help: "The settings file of a daemon on this machine, which names its port.")
    var config: String?

    /// The settings of the daemon on this machine, as it would read them. Throws ``ExitCode`` 78, all told.
    func settings() throws -> Settings {
        try SettingsOptions.load(config: config, port: port)
    }

    /// The socket of the daemon on this machine; nil where another place, or a key, was named. Then who asks is proven
    /// by the system, and no key is needed.
    func socket(environment: [String: String]) throws -> String? {
        for name in ["IGRIS_URL", "IGRIS_API_KEY"] where environment[name].map({ !$0.isEmpty }) == true { return nil }
        guard url == nil, let folder = try? StateFolder(environment: environment) else { return nil }
        return AdminSocketPlace(folder: folder, port: try settings().server.port)?.path
    }

    /// `--url`, else what `--port` and `--config` say, else the environment, else the port that all have by default.
    func address(environment: [String: String]) throws -> String {
        if let url { return url }
        if port == nil, config == nil, let url = environment["IGRIS_URL"], !url.isEmpty { return url }
        // Also for neither: IGRIS_SERVER_PORT may have moved the daemon.
        let server = try settings().server
        let isEverywhere = ["0.0.0.0", "::", "localhost"].contains(server.host)
        let host = isEverywhere ? "127.0.0.1" : server.host
        return "http://\(NetworkAddress(host: host, port: server.port))"
    }
}

/// Speaks HTTP/1.1 with a daemon: one request, one connection.
struct DaemonClient {
    enum Method {
        case get
        case post
        case delete
    }

    struct Reply {
        var status: Int
        var body: [UInt8]

        var isSuccess: Bool { (200..<300).contains(status) }
    }

    private let host: String
    private let port: Int
    private let key: String?
    /// Tried first.
    private let socket: String?

    /// Throws ``RuntimeError`` `.configuration` when the address is none.
    init(_ options: DaemonOptions, environment: [String: String]) throws {
        let url = try options.address(environment: environment)
        key = environment["IGRIS_API_KEY"]
        guard let (host, port) = Self.parts(of: url) else {
            throw RuntimeError(.configuration, "'\(url)' is no address of a daemon; write http://HOST:PORT")
        }
        self.host = host
        self.port = port
        socket = try options.socket(environment: environment)
    }

    /// A daemon on this machine that needs no key.
    init(host: String, port: Int) {
        self.host = host
        self.port = port
        key = nil
        socket = nil
    }

    var address: String { "http://\(host.contains(":") ? "[\(host)]" : host):\(port)" }

    /// `http://HOST[:PORT][/v1]`; an IPv6 address in brackets.
    static func parts(of url: String) -> (host: String, port: Int)? {
        guard url.hasPrefix("http://") else { return nil }
        let authority = url.dropFirst("http://".count).prefix { $0 != "/" }
        var host = authority
        var port = 80
        if let colon = authority.lastIndex(of: ":"), authority[colon...].contains("]") == false {
            guard let number = Int(authority[authority.index(after: colon)...]), (1...65_535).contains(number) else {
                return nil
            }
            host = authority[..<colon]
            port = number
        }
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        return host.isEmpty ? nil : (String(host), port)
    }

    /// The whole reply. A daemon that stands still is not waited for longer than `patience`: throws ``RuntimeError``
    /// `.unavailable`.
    func send(
        _ method: Method, _ path: String, json: JSON? = nil, patience: Duration = .seconds(15)
    ) async throws -> Reply {
        try await withThrowingTaskGroup(of: Reply?.self) { group in
            group.addTask { try await collect(method, path, json) }
            group.addTask {
                try await Task.sleep(for: patience)
                return nil
            }
            defer { group.cancelAll() }
            guard case .some(.some(let reply)) = try await group.next() else {
                throw RuntimeError(
                    .unavailable,
                    "\(address) took the request and has not answered for \(patience.components.seconds) s; the "
                        + "daemon may be stopped or overloaded (its log and `top` may tell), or it is another program")
            }
            return reply
        }
    }

    private func collect(_ method: Method, _ path: String, _ json: JSON?) async throws -> Reply {
        var body: [UInt8] = []
        let status = try await exchange(method, path, json) { _, bytes in
            guard body.count + bytes.count <= Limits.inferenceBodyBytes else {
                throw RuntimeError(.tooLarge, "the daemon's reply is too long")
            }
            body += bytes
        }
        return Reply(status: status, body: body)
    }

    /// The reply as it comes: `receive` is called with the status and each piece. Returns the status.
    func exchange(
        _ method: Method, _ path: String, _ json: JSON?, headers: [(name: String, value: String)] = [],
        receive: (Int, [UInt8]) throws -> Void
    ) async throws -> Int {
        let channel: NIOAsyncChannel<HTTPClientResponsePart, HTTPClientRequestPart>
        do {
            channel = try await connected()
        } catch {
            throw RuntimeError(
                .unavailable,
                "no daemon answers at \(address); start one with: igris-runtime --config config.json5", cause: error)
        }
        let body = json?.encoded
        var request = requestHead(method, path, body?.count ?? 0)
        for header in headers { request.headers.add(name: header.name, value: header.value) }
        do {
            return try await exchange(request, body, over: channel, receive)
        } catch let error as HTTPParserError {
            throw RuntimeError(
                .unavailable,
                "what answers at \(address) does not speak HTTP: another program may have that port; --port and --url "
                    + "name another one", cause: error)
        }
    }

    private func connected() async throws -> NIOAsyncChannel<HTTPClientResponsePart, HTTPClientRequestPart> {
        let setUp = { @Sendable (channel: any Channel) in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHTTPClientHandlers()
                return try NIOAsyncChannel<HTTPClientResponsePart, HTTPClientRequestPart>(
                    wrappingChannelSynchronously: channel)
            }
        }
        let bootstrap = ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton).connectTimeout(.seconds(5))
        // One that a killed daemon left behind leads nowhere.
        if let socket,
            let channel = try? await bootstrap.connect(unixDomainSocketPath: socket, channelInitializer: setUp)
        {
            return channel
        }
        return try await bootstrap.channelOption(.socketOption(.tcp_nodelay), value: 1)
            .connect(host: host, port: port, channelInitializer: setUp)
    }

    private func exchange(
        _ request: HTTPRequestHead, _ body: [UInt8]?,
        over channel: NIOAsyncChannel<HTTPClientResponsePart, HTTPClientRequestPart>,
        _ receive: (Int, [UInt8]) throws -> Void
    ) async throws -> Int {
        try await channel.executeThenClose { inbound, outbound in
            var parts: [HTTPClientRequestPart] = [.head(request)]
            if let body { parts.append(.body(.byteBuffer(ByteBuffer(bytes: body)))) }
            parts.append(.end(nil))
            // At once: a reply may close the connection as soon as the request's last byte is there.
            try await outbound.write(contentsOf: parts)
            var status: Int?
            for try await part in inbound {
                switch part {
                case .head(let head): status = Int(head.status.code)
                case .body(let buffer):
                    if let status { try receive(status, Array(buffer.readableBytesView)) }
                case .end:
                    if let status { return status }
                }
            }
            throw RuntimeError(.unavailable, "the daemon at \(address) closed the connection in mid-reply; ask again")
        }
    }

    private static func word(_ method: Method) -> HTTPMethod {
        switch method {
        case .get: .GET
        case .post: .POST
        case .delete: .DELETE
        }
    }

    /// `text` as one part of a path.
    static func escaped(_ text: String) -> String {
        text.utf8.map { byte in
            let isPlain = Character(Unicode.Scalar(byte)).isLetter || (0x30...0x39).contains(byte)
            return isPlain && byte < 0x80 || byte == UInt8(ascii: "-") ? String(Unicode.Scalar(byte)) : "%\([byte].hex)"
        }
        .joined()
    }

    private func requestHead(_ method: Method, _ path: String, _ length: Int) -> HTTPRequestHead {
        var head = HTTPRequestHead(version: .http1_1, method: Self.word(method), uri: path)
        head.headers.add(name: "host", value: "\(host.contains(":") ? "[\(host)]" : host):\(port)")
        head.headers.add(name: "user-agent", value: "igris-runtime/\(IgrisRuntime.version)")
        head.headers.add(name: "connection", value: "close")
        if length > 0 {
            head.headers.add(name: "content-type", value: "application/json")
            head.headers.add(name: "content-length", value: String(length))
        }
        if let key { head.headers.add(name: "authorization", value: "Bearer \(key)") }
        return head
    }
}

extension DaemonClient.Reply {
    /// The reply's JSON; throws what the daemon says is wrong.
    func json() throws -> JSON {
        let json = try? JSON.parse(body)
        guard isSuccess else { throw Self.error(status: status, json) }
        guard let json else { throw Self.stranger(status) }
        return json
    }

    private static func stranger(_ status: Int) -> RuntimeError {
        RuntimeError(
            .unavailable,
            "what answers there (with status \(status)) does not speak as igris-runtime does: another program may have "
                + "that port; --port and --url name another one")
    }

    /// The daemon's error object as our own error.
    static func error(status: Int, _ json: JSON?) -> RuntimeError {
        guard let message = json?["error"]?["message"]?.string else { return stranger(status) }
        switch status {
        case 401, 403: return RuntimeError(.unauthenticated, message)
        case 400..<500: return RuntimeError(.notFound, message)
        default: return RuntimeError(.unavailable, message)
        }
    }
}
