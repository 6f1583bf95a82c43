import Core
import Guardian
import Node
import Testing

@testable import Gateway

@Suite(.timeLimit(.minutes(1))) struct GatewayLimitsTests {
    private static let node = ScriptedNode { _, _ in .scripted(.hello) }

    /// Sends `text`, and returns all that comes back until the gateway closes.
    private static func all(
        _ text: String, _ change: (inout GatewayLimits) -> Void = { _ in }
    ) async throws -> String {
        var configuration = GatewayConfiguration(host: "127.0.0.1", port: 0)
        change(&configuration.limits)
        return try await withGateway(node, configuration: configuration) { port, _ in
            try await RawClient.connected(to: port) { client in
                try await client.send(text)
                return try await client.readToEnd()
            }
        }
    }

    @Test(
        "what two servers could read in two ways is refused, and the connection closed",
        arguments: [
            "GET /livez HTTP/1.1\r\n\r\n",
            "GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
            "GET http://evil.com/livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "GET /livez HTTP/1.1\r\nHost: localhost\nX: a\r\n\r\n",
            "GET /livez HTTP/1.1\r\nHost : localhost\r\n\r\n",
            "GET /livez HTTP/1.1\r\nHost: localhost\r\n folded\r\n\r\n",
            "GET /livez HTTP/1.1\r\nHost: localhost\r\nX: a\u{1}b\r\n\r\n",
            "POST /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            "POST /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "POST /livez HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n",
            "POST /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
            "POST /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "nonsense\r\n\r\n", "\u{16}\u{3}\u{1}\r\n\r\n",
        ])
    func ambiguous(_ request: String) async throws {
        let reply = try await Self.all(request)
        #expect(reply.hasPrefix("HTTP/1.1 400 "), "\(reply)")
        #expect(reply.contains("bad_request"))
        #expect(reply.contains("connection: close") && reply.contains("x-request-id: req_"))
    }

    @Test(
        "another version, or one with a strange end, is told which is spoken here",
        arguments: ["HTTP/0.9\r\nHost: localhost\r\n\r\n", "HTTP/3.0\r\n\r\n", "HTTP/1.1\nHost: localhost\n\n"])
    func version(_ end: String) async throws {
        #expect(try await Self.all("GET /livez \(end)").hasPrefix("HTTP/1.1 505 "))
    }

    @Test("a client of HTTP/1.0 is answered in its own version, whatever it wishes for, and the connection closed")
    func oldClient() async throws {
        let whole = try await Self.all("GET /livez HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n")
        #expect(whole.hasPrefix("HTTP/1.0 200 ") && whole.contains("connection: close"))
        let body = chat(#""stream":true"#)
        let stream = try await Self.all(
            "POST /v1/chat/completions HTTP/1.0\r\nHost: localhost\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
        )
        #expect(stream.hasPrefix("HTTP/1.0 200 ") && !stream.contains("chunked"))
        #expect(stream.contains("\r\n\r\ndata: {") && stream.hasSuffix("data: [DONE]\n\n"))
    }

    @Test("what a chunk says besides its size is bounded, and what follows a body is a request again")
    func chunkExtensions() async throws {
        let head = "POST /livez HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        for long in [
            head + "1;a=\(String(repeating: "x", count: 300))\r\nz\r\n0\r\n\r\n",
            head + "1\r\nz\r\n2;\(String(repeating: "x", count: 300))",
        ] {
            let reply = try await Self.all(long)
            #expect(reply.hasPrefix("HTTP/1.1 400 ") && reply.contains("extensions"), "\(reply)")
        }
        let body = chat()
        let size = String(body.utf8.count, radix: 16)
        let request =
            "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
            + "\(size);a=b\r\n\(body)\r\n0\r\nTrailer: t\r\n\r\n"
        let statuses = try await withGateway(Self.node) { port, _ in
            try await RawClient.connected(to: port) { client in
                // In one piece, and byte by byte in the middle.
                try await client.send(request + post(body) + get("/livez"))
                var statuses = [try await client.response().status, try await client.response().status]
                statuses.append(try await client.response().status)
                for byte in request.utf8 { try await client.send([byte]) }
                statuses.append(try await client.response().status)
                return statuses
            }
        }
        #expect(statuses == [200, 200, 200, 200])
    }

    @Test(
        "a body in another coding than chunks is not taken",
        arguments: ["gzip, chunked", "chunked, chunked", "chunked\r\nTransfer-Encoding: chunked", "identity, chunked"])
    func codings(_ coding: String) async throws {
        let reply = try await Self.all(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: \(coding)\r\n\r\n0\r\n\r\n")
        #expect(reply.hasPrefix("HTTP/1.1 400 "), "\(reply)")
    }

    @Test(
        "headers that are too many or too long are refused",
        arguments: [
            "X: \(String(repeating: "a", count: Limits.headerFieldBytes + 1))\r\n",
            String(repeating: "X: a\r\n", count: Limits.headerFields + 1),
            String(repeating: "X: \(String(repeating: "a", count: 8_000))\r\n", count: 5),
        ])
    func headers(_ headers: String) async throws {
        #expect(try await Self.all(get("/livez", headers + "Connection: close\r\n")).hasPrefix("HTTP/1.1 431 "))
    }

    @Test("a path that is too long is refused like a header")
    func path() async throws {
        let path = "/" + String(repeating: "a", count: Limits.headerBytes)
        #expect(try await Self.all(get(path)).hasPrefix("HTTP/1.1 431 "))
    }

    @Test("a body is refused by its announced length before it is sent")
    func announcedLength() async throws {
        let reply = try await Self.all(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: \(Limits.inferenceBodyBytes + 1)\r\n\r\n"
        )
        #expect(reply.hasPrefix("HTTP/1.1 413 "))
        #expect(reply.contains("request_too_large"))
    }

    @Test("a body without an announced length is refused when it grows too large")
    func growingBody() async throws {
        let chunk = "100000\r\n\(String(repeating: " ", count: 0x100000))\r\n"
        let reply = try await Self.all(
            "GET /livez HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
                + String(repeating: chunk, count: 5))
        #expect(reply.hasPrefix("HTTP/1.1 413 "))
    }

    @Test("JSON that is nested too deep is refused")
    func depth() async throws {
        let body = String(repeating: "[", count: Limits.jsonDepth + 1)
        #expect(try await Self.all(post(body, "Connection: close\r\n")).hasPrefix("HTTP/1.1 413 "))
    }

    @Test("a compressed body is refused in clear words", arguments: ["deflate", "br"])
    func compressed(_ coding: String) async throws {
        let reply = try await Self.all(post("x", "Content-Encoding: \(coding)\r\n"))
        #expect(reply.hasPrefix("HTTP/1.1 415 "))
    }

    @Test("nonsense behind a request does not take its answer away")
    func nonsenseBehind() async throws {
        let reply = try await Self.all(get("/livez") + "nonsense\r\n\r\n")
        #expect(reply.hasPrefix("HTTP/1.1 200 OK"))
        #expect(reply.ranges(of: "HTTP/1.1 ").count == 1)
    }

    @Test("a long answer reaches a client that closes its connection with it")
    func longAnswer() async throws {
        let piece = ChatEvent.text(choice: 0, String(repeating: "x", count: 8 * 1024 * 1024))
        let node = ScriptedNode { _, _ in .scripted([piece] + .hello) }
        try await withGateway(node) { port, _ in
            try await RawClient.connected(to: port) { client in
                try await client.send(post(chat(), "Connection: close\r\n"))
                #expect(try await client.readToEnd().utf8.count > 8 * 1024 * 1024)
            }
        }
    }

    @Test("an offer of another protocol is answered in this one, and the connection closed")
    func upgrade() async throws {
        let offer = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
        let reply = try await Self.all(get("/livez", offer))
        #expect(reply.hasPrefix("HTTP/1.1 200 OK") && reply.lowercased().contains("connection: close"))
        #expect(try await Self.all(post(chat(), offer)).contains("chat.completion"))
    }

    @Test("a client that waits for permission to send its body gets it")
    func expectation() async throws {
        try await withGateway(Self.node) { port, _ in
            try await RawClient.connected(to: port) { client in
                let body = chat()
                try await client.send(
                    "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
                        + "Content-Length: \(body.utf8.count)\r\n\r\n")
                #expect(try await client.read(through: "\r\n\r\n").hasPrefix("HTTP/1.1 100 "))
                try await client.send(body)
                #expect(try await client.response().status == 200)
            }
        }
    }

    @Test("headers that trickle in have a deadline as a whole")
    func trickle() async throws {
        var configuration = GatewayConfiguration(host: "127.0.0.1", port: 0)
        configuration.limits.headerDeadline = .milliseconds(100)
        try await withGateway(Self.node, configuration: configuration) { port, _ in
            try await RawClient.connected(to: port) { client in
                try await client.send("GET /livez HTTP/1.1\r\n")
                #expect(try await client.readToEnd().hasPrefix("HTTP/1.1 408 "))
            }
        }
    }

    @Test("a body that stops coming has a deadline")
    func stalledBody() async throws {
        let reply = try await Self.all(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{"
        ) { $0.bodyIdle = .milliseconds(50) }
        #expect(reply.hasPrefix("HTTP/1.1 408 "))
    }

    @Test("an idle connection is closed, also one that never spoke", arguments: ["", get("/livez")])
    func idle(_ request: String) async throws {
        let reply = try await Self.all(request) { $0.keepAliveIdle = .seconds(3) }
        #expect(request.isEmpty ? reply.isEmpty : reply.hasPrefix("HTTP/1.1 200 "))
    }

    @Test("one connection too many is told to come back")
    func connections() async throws {
        var configuration = GatewayConfiguration(host: "127.0.0.1", port: 0)
        configuration.limits.connections = 1
        try await withGateway(Self.node, configuration: configuration) { port, _ in
            try await RawClient.connected(to: port) { first in
                try await first.send(get("/livez"))
                #expect(try await first.response().status == 200)
                try await RawClient.connected(to: port) { second in
                    let reply = try await second.readToEnd()
                    #expect(reply.hasPrefix("HTTP/1.1 503 ") && reply.contains("retry-after: 1"))
                }
                try await first.send(get("/livez"))
                #expect(try await first.response().status == 200)
            }
        }
    }

    @Test("a client that does not read is dropped, and the engine stopped")
    func slowReader() async throws {
        var configuration = GatewayConfiguration(host: "127.0.0.1", port: 0)
        configuration.limits.streamStall = .milliseconds(100)
        let (ends, ended) = AsyncStream<Void>.makeStream()
        let piece = ChatEvent.text(choice: 0, String(repeating: "x", count: 64 * 1024))
        let node = ScriptedNode { _, _ in
            // An engine that never ends and never waits; only the newest piece is kept.
            let (events, continuation) = AsyncThrowingStream<ChatEvent, any Error>.makeStream(
                bufferingPolicy: .bufferingNewest(1))
            let pump = Task {
                while !Task.isCancelled {
                    continuation.yield(piece)
                    await Task.yield()
                }
            }
            continuation.onTermination = { _ in
                pump.cancel()
                ended.yield()
            }
            return .scripted(events)
        }
        try await withGateway(node, configuration: configuration) { port, _ in
            try await RawClient.connected(to: port) { client in
                try await client.send(post(chat(#""stream":true"#)))
                _ = await ends.first { true }
            }
        }
    }

    @Test("bytes that make no sense are refused, and harm nobody else", arguments: 0..<20)
    func garbage(_ seed: UInt64) async throws {
        var random = SplitMix(seed)
        let alphabet = Array("GETPOST /HTP1.\r\n:Host localhst\0\t{}0123456789ABCDEFchunked".utf8)
        var bytes = (0..<300).compactMap { _ in alphabet.randomElement(using: &random) }
        if seed.isMultiple(of: 2) {
            bytes =
                Array(
                    "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".utf8)
                + bytes
        }
        let text = String(decoding: bytes, as: UTF8.self)
        try await withGateway(Self.node) { port, _ in
            try await RawClient.connected(to: port) { other in
                try await RawClient.connected(to: port) { client in
                    try await client.send(text + "\r\n\r\n")
                    #expect(try await client.readToEnd().hasPrefix("HTTP/1.1 400 "))
                }
                try await other.send(get("/livez"))
                #expect(try await other.response().status == 200)
            }
        }
    }

    @Test("connections of other machines are counted by address, those of this one are not")
    func ledger() throws {
        var limits = GatewayLimits()
        limits.connections = 10
        limits.connectionsPerAddress = 2
        let ledger = ConnectionLedger(limits: limits)
        func enter(_ address: String) -> Bool { ledger.enter(IPAddress(address)) }
        #expect(enter("10.0.0.1") && enter("10.0.0.1") && !enter("10.0.0.1"))
        #expect(enter("10.0.0.2"))
        #expect((0..<5).allSatisfy { _ in enter("127.0.0.1") })
        ledger.leave(IPAddress("10.0.0.1"))
        ledger.leave(IPAddress("10.0.0.1"))
        #expect(enter("10.0.0.1"))
        #expect(enter("10.0.0.3") && enter("10.0.0.4"))
        #expect(!enter("10.0.0.5"))
    }
}
