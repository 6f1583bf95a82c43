import Core
import Guardian
import Node
import Synchronization
import Testing

@testable import Gateway

@Suite(.timeLimit(.minutes(1))) struct GatewayTests {
    private static let node = ScriptedNode { _, _ in .scripted(.hello) }

    /// One request on a connection of its own.
    private static func exchange(
        _ request: String, hasBody: Bool = true, node: ScriptedNode = GatewayTests.node
    ) async throws -> RawClient.Response {
        try await withGateway(node) { port, _ in
            try await RawClient.connected(to: port) { client in
                try await client.send(request)
                return try await client.response(hasBody: hasBody)
            }
        }
    }

    // MARK: Chat

    @Test("a chat is answered whole, with the headers that clients use")
    func whole() async throws {
        let reply = try await Self.exchange(post(chat(), "X-Request-Id: my-1\r\nContent-Type: text/plain\r\n"))
        #expect(reply.status == 200)
        let json = try JSON.parse(reply.body)
        #expect(json["object"]?.string == "chat.completion")
        #expect(json["model"]?.string == "phi3")
        #expect(json["choices"]?.array?.first?["message"]?["content"]?.string == "Hello \"you\"\n")
        #expect(json["usage"]?["total_tokens"]?.integer == 9)
        #expect(json["igris"] == nil)
        #expect(reply.headers["x-conversation-id"] == "conv-1")
        #expect(reply.headers["x-request-id"] == "my-1")
        #expect(reply.headers["x-igris-served-by"] == "00000000000000000000000000000001")
        #expect(reply.headers["x-igris-replicas"] == "2")
        #expect(reply.headers["content-type"] == "application/json")
        #expect(reply.headers["date"]?.hasSuffix("GMT") == true)
    }

    @Test("a chat is streamed as events with one id, and ends with DONE")
    func stream() async throws {
        let reply = try await Self.exchange(post(chat(#""stream":true,"stream_options":{"include_usage":true}"#)))
        #expect(reply.status == 200)
        #expect(reply.headers["content-type"] == "text/event-stream")
        #expect(reply.headers["cache-control"] == "no-cache")
        #expect(reply.headers["x-accel-buffering"] == "no")
        #expect(reply.headers["x-igris-replicas"] == "2")
        #expect(reply.headers["x-conversation-id"] == "conv-1")
        let events = reply.body.split(separator: "\n\n")
        #expect(events.count == 6)
        #expect(events.last == "data: [DONE]")
        let chunks = try events.dropLast().map { try JSON.parse(String($0.dropFirst("data: ".count))) }
        #expect(Set(chunks.map { $0["id"]?.string }).count == 1)
        #expect(
            chunks.compactMap { $0["choices"]?.array?.first?["delta"]?["content"]?.string } == [
                "", "Hel", "lo \"you\"\n",
            ])
        #expect(chunks.last?["usage"]?["prompt_tokens_details"]?["cached_tokens"]?.integer == 5)
        #expect(chunks.last?["choices"]?.array?.isEmpty == true)
    }

    @Test("a connection serves one request after the other, streamed or not")
    func keepAlive() async throws {
        try await withGateway(Self.node) { port, _ in
            try await RawClient.connected(to: port) { client in
                for _ in 0..<3 {
                    try await client.send(post(chat(#""stream":true"#)))
                    #expect(try await client.response().body.hasSuffix("data: [DONE]\n\n"))
                    try await client.send(post(chat()))
                    #expect(try await client.response().status == 200)
                    try await client.send(get("/nowhere"))
                    #expect(try await client.response().status == 404)
                }
                try await client.send(get("/livez") + get("/readyz") + get("/livez", "Connection: close\r\n"))
                let rest = try await client.readToEnd()
                #expect(rest.components(of: "HTTP/1.1 200 OK") == 3)
            }
        }
    }

    @Test("an error before the first token is a plain reply, also for a stream")
    func earlyError() async throws {
        let node = ScriptedNode { _, _ in
            throw RuntimeError(.contextLengthExceeded, "the prompt has 900 tokens; 512 fit")
        }
        let reply = try await Self.exchange(post(chat(#""stream":true"#)), node: node)
        #expect(reply.status == 400)
        let error = try JSON.parse(reply.body)["error"]
        #expect(error?["code"]?.string == "context_length_exceeded")
        #expect(error?["param"]?.string == "messages")
        #expect(reply.headers["x-request-id"]?.hasPrefix("req_") == true)
    }

    @Test("an error after the first token is told in the stream, which then ends without DONE")
    func lateError() async throws {
        let node = ScriptedNode { _, _ in
            .scripted([.text(choice: 0, "Hel")], failure: RuntimeError(.engineFailed, "it broke"))
        }
        let reply = try await Self.exchange(post(chat(#""stream":true"#)), node: node)
        #expect(reply.status == 200)
        #expect(!reply.body.contains("[DONE]"))
        let last = try #require(reply.body.split(separator: "\n\n").last)
        #expect(last.hasPrefix(#"data: {"error":{"message":"it broke""#))
    }

    @Test("a whole answer that breaks off is an error that libraries do not retry")
    func brokenWhole() async throws {
        let node = ScriptedNode { _, _ in
            .scripted([.text(choice: 0, "Hel")], failure: RuntimeError(.engineFailed, "it broke"))
        }
        let reply = try await Self.exchange(post(chat()), node: node)
        #expect(reply.status == 500)
        #expect(reply.headers["x-should-retry"] == "false")
        #expect(reply.headers["x-conversation-id"] == "conv-1")
    }

    @Test("an answer that is slow to begin is waited for with heartbeats, and its failure told in the stream")
    func slowBeginning() async throws {
        var configuration = GatewayConfiguration(host: "127.0.0.1", port: 0)
        configuration.limits.heartbeat = .milliseconds(30)
        let (gate, open) = AsyncStream<Void>.makeStream()
        let node = ScriptedNode { _, _ in
            _ = await gate.first { true }
            throw RuntimeError(.engineFailed, "it never woke")
        }
        try await withGateway(node, configuration: configuration) { port, _ in
            try await RawClient.connected(to: port) { client in
                try await client.send(post(chat(#""stream":true"#)))
                #expect(try await client.read(through: "\r\n\r\n").contains("text/event-stream"))
                for _ in 0..<3 { _ = try await client.read(through: ":\n\n") }
                open.yield()
                #expect(try await client.read(through: "}}\n\n").contains("it never woke"))
            }
        }
    }

    @Test(
        "a stream of events is told that its model is being loaded, and no other stream is",
        arguments: [("/v1/chat/completions", true), ("/api/chat", false)])
    func loading(path: String, isTold: Bool) async throws {
        var configuration = GatewayConfiguration(host: "127.0.0.1", port: 0)
        configuration.limits.loadingNotice = .milliseconds(5)
        let (gate, open) = AsyncStream<Void>.makeStream()
        let node = ScriptedNode { _, _ in
            _ = await gate.first { true }
            return .scripted(.hello)
        }
        node.loads.withLock { $0 = true }
        try await withGateway(node, configuration: configuration) { port, _ in
            try await RawClient.connected(to: port) { client in
                try await client.send(post(chat(#""stream":true"#), path: path))
                // The head comes while the model is still being loaded.
                _ = try await client.read(through: "\r\n\r\n")
                if isTold {
                    for _ in 0..<3 { _ = try await client.read(through: ": loading\n\n") }
                }
                open.yield()
                let rest = try await client.read(through: isTold ? "[DONE]" : #""done":true"#)
                #expect(rest.contains("Hel") && (isTold || !rest.contains(": loading")))
            }
        }
    }

    @Test("heartbeats fill the silence between two tokens, and never break an event")
    func heartbeats() async throws {
        var configuration = GatewayConfiguration(host: "127.0.0.1", port: 0)
        configuration.limits.heartbeat = .milliseconds(20)
        let (events, continuation) = AsyncThrowingStream<ChatEvent, any Error>.makeStream()
        let node = ScriptedNode { _, _ in .scripted(events) }
        try await withGateway(node, configuration: configuration) { port, _ in
            try await RawClient.connected(to: port) { client in
                continuation.yield(.text(choice: 0, "one"))
                try await client.send(post(chat(#""stream":true"#)))
                _ = try await client.read(through: "one")
                for _ in 0..<2 { _ = try await client.read(through: "3\r\n:\n\n\r\n") }
                for event in [ChatEvent].hello { continuation.yield(event) }
                continuation.finish()
                #expect(try await client.read(through: "[DONE]\n\n").contains("Hel"))
            }
        }
    }

    @Test("several answers carry their indices")
    func choices() async throws {
        let usage = TokenUsage(promptTokens: 1, completionTokens: 1)
        let node = ScriptedNode { request, _ in
            .scripted(
                (0..<request.choices).reversed().flatMap { choice in
                    [.text(choice: choice, "answer \(choice)"), .finished(choice: choice, reason: .stop, usage: usage)]
                })
        }
        let reply = try await Self.exchange(post(chat(#""n":3"#)), node: node)
        let choices = try #require(try JSON.parse(reply.body)["choices"]?.array)
        #expect(choices.map { $0["index"]?.integer } == [0, 1, 2])
        #expect(choices.map { $0["message"]?["content"]?.string } == ["answer 0", "answer 1", "answer 2"])
    }

    // MARK: The client leaves

    @Test("a client that leaves in mid-answer ends the engine's work at once", arguments: [true, false])
    func clientLeaves(_ streams: Bool) async throws {
        let (events, continuation) = AsyncThrowingStream<ChatEvent, any Error>.makeStream()
        let (ends, ended) = AsyncStream<Void>.makeStream()
        let (begins, begun) = AsyncStream<Void>.makeStream()
        continuation.onTermination = { _ in ended.yield() }
        let node = ScriptedNode { _, _ in
            continuation.yield(.text(choice: 0, "one"))
            begun.yield()
            return .scripted(events)
        }
        try await withGateway(node) { port, _ in
            try await RawClient.connected(to: port) { client in
                try await client.send(post(chat(#""stream":\#(streams)"#)))
                _ = await begins.first { true }
                if streams { _ = try await client.read(through: "one") }
                try await client.close()
            }
            // While the gateway serves: its stop would end the work as well. test_client_gone.py measures how soon.
            #expect(await ends.first { true } != nil)
        }
    }

    @Test("a client that leaves while its question waits cancels the waiting", arguments: [true, false])
    func clientLeavesQueue(_ streams: Bool) async throws {
        let (ends, ended) = AsyncStream<Bool>.makeStream()
        let (begins, begun) = AsyncStream<Void>.makeStream()
        let node = ScriptedNode { _, _ in
            begun.yield()
            await untilCancelled()
            ended.yield(Task.isCancelled)
            throw RuntimeError(.unavailable, "cancelled")
        }
        try await withGateway(node) { port, _ in
            try await RawClient.connected(to: port) { client in
                try await client.send(post(chat(#""stream":\#(streams)"#)))
                _ = await begins.first { true }
                try await client.close()
            }
            #expect(await ends.first { _ in true } == true)
        }
    }

    // MARK: Other routes

    @Test(
        "what is asked of the node's state is answered",
        arguments: [
            ("/", 200, "igris-runtime 0.0.0-test is running"), ("/livez", 200, #"{"status":"ok"}"#),
            ("/v1/health/live", 200, "ok"), ("/readyz", 200, #"{"status":"ready","reasons":[]}"#),
            ("/v1/health", 200, #""ready":true"#), ("/metrics", 200, "igris_up 1"),
            ("/v1/models", 200, #""id":"phi3""#), ("/v1/models", 200, "it crashed 3 times"),
            ("/v1/models/phi3", 200, #""alias_of":"igris-recall""#),
            ("/v1/models/vendor%2Fbig%3A4b", 200, #""id":"vendor/big:4b""#),
            ("/v1/models/vendor/big:4b", 200, #""retry_at":1700000000"#),
            ("/v1/models/none", 404, "model_not_found"), ("/v1/models/none", 404, "vendor/big:4b"),
            ("/v1/mcp/contexts", 200, #""id":"talk""#), ("/v1/mcp/contexts?limit=0", 400, #""param":"limit""#),
            ("/v1/mcp/contexts/talk", 200, #""status":"aborted""#), ("/v1/mcp/contexts/talk", 200, #""digest":"abcd""#),
            ("/v1/mcp/contexts/other", 404, "not_found"), ("/v1/status", 200, #""version":"0.0.0-test""#),
            ("/v1/status", 200, #""store":{"conversations":1,"operations":2,"bytes":3}"#),
            ("/v1/nothing", 404, #""type":"invalid_request_error""#),
        ])
    func information(_ path: String, _ status: Int, _ text: String) async throws {
        let reply = try await Self.exchange(get(path))
        #expect(reply.status == status)
        #expect(reply.body.contains(text), "\(reply.body)")
    }

    @Test("readiness turns to 503 with the reasons")
    func notReady() async throws {
        let node = ScriptedNode(readiness: Readiness(isReady: false, reasons: ["no model"])) { _, _ in .scripted([]) }
        let reply = try await Self.exchange(get("/readyz"), node: node)
        #expect(reply.status == 503)
        #expect(reply.body == #"{"status":"not_ready","reasons":["no model"]}"#)
    }

    @Test("HEAD has the headers of GET and no body")
    func head() async throws {
        let reply = try await Self.exchange(
            "HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", hasBody: false)
        #expect(reply.status == 200)
        #expect(reply.headers["content-length"] == "36")
    }

    @Test("a wrong method is told the right ones")
    func method() async throws {
        let reply = try await Self.exchange(get("/v1/responses"))
        #expect(reply.status == 405)
        #expect(reply.headers["allow"] == "POST, OPTIONS")
        let other = try await Self.exchange(post("{}", path: "/v1/models"))
        #expect(other.status == 405)
        #expect(other.headers["allow"] == "GET, HEAD, OPTIONS")
    }

    // MARK: Browsers and strangers

    @Test("a page of this machine gets its preflight answered without a key, and its replies may be read")
    func crossOrigin() async throws {
        let preflight = try await Self.exchange(
            "OPTIONS /v1/chat/completions HTTP/1.1\r\nHost: localhost:8080\r\nOrigin: http://localhost:3000\r\n"
                + "Access-Control-Request-Method: POST\r\n"
                + "Access-Control-Request-Headers: authorization, x-stainless-new, x-evil\r\n\r\n")
        #expect(preflight.status == 204)
        #expect(preflight.headers["access-control-allow-origin"] == "http://localhost:3000")
        #expect(preflight.headers["vary"] == "Origin")
        #expect(preflight.headers["access-control-allow-methods"] == "GET, HEAD, POST, OPTIONS")
        let allowed = try #require(preflight.headers["access-control-allow-headers"])
        #expect(allowed.contains("authorization") && allowed.contains("x-stainless-new") && !allowed.contains("evil"))
        let reply = try await Self.exchange(get("/v1/models", "Origin: http://localhost:3000\r\n"))
        #expect(reply.headers["access-control-allow-origin"] == "http://localhost:3000")
        #expect(reply.headers["access-control-expose-headers"]?.contains("x-request-id") == true)
    }

    @Test(
        "strange hosts and pages are refused on every route",
        arguments: ["/", "/livez", "/readyz", "/metrics", "/v1/models", "/v1/status", "/v1/mcp/contexts", "/nowhere"])
    func strangers(_ path: String) async throws {
        let rebound = try await Self.exchange(get(path, host: "evil.com"))
        #expect(rebound.status == 403)
        let page = try await Self.exchange(get(path, "Origin: http://evil.com\r\n"))
        #expect(page.status == 403)
        #expect(page.headers["access-control-allow-origin"] == nil)
    }

    @Test("this machine may be called by its own names")
    func ownNames() async throws {
        let names = MachineNamesCache().current().names
        #expect(names.contains { $0.hasSuffix(".local") })
        try await withGateway(Self.node) { port, _ in
            try await RawClient.connected(to: port) { client in
                for name in names {
                    try await client.send(get("/livez", host: "\(name):\(port)"))
                    #expect(try await client.response().status == 200)
                }
            }
        }
    }

    @Test("a wrong key is refused on loopback too, with the next step")
    func wrongKey() async throws {
        var configuration = GatewayConfiguration(host: "127.0.0.1", port: 0)
        configuration.keys = [(name: "laptop", key: Secret("sk-right"))]
        try await withGateway(Self.node, configuration: configuration) { port, _ in
            try await RawClient.connected(to: port) { client in
                try await client.send(get("/v1/models", "Authorization: Bearer sk-wrong\r\n"))
                let reply = try await client.response()
                #expect(reply.status == 401)
                #expect(reply.headers["www-authenticate"] == "Bearer")
                #expect(reply.body.contains("auth.keys"))
                try await client.send(get("/v1/models", "x-api-key: sk-right\r\n"))
                #expect(try await client.response().status == 200)
            }
        }
    }

    @Test("the key's name owns what is asked with it")
    func owner() async throws {
        let owners = Mutex<[Owner]>([])
        let node = ScriptedNode { _, owner in
            owners.withLock { $0.append(owner) }
            return .scripted(.hello)
        }
        var configuration = GatewayConfiguration(host: "127.0.0.1", port: 0)
        configuration.keys = [(name: "laptop", key: Secret("sk-right"))]
        try await withGateway(node, configuration: configuration) { port, _ in
            try await RawClient.connected(to: port) { client in
                try await client.send(post(chat(), "Authorization: Bearer sk-right\r\n"))
                #expect(try await client.response().status == 200)
                try await client.send(post(chat()))
                #expect(try await client.response().status == 200)
            }
        }
        #expect(owners.withLock { $0 } == [Owner(name: "key:laptop"), .local])
    }

    // MARK: Ending

    @Test("shutdown lets a running answer end, begins no other, and says so until the end")
    func shutdown() async throws {
        let (events, continuation) = AsyncThrowingStream<ChatEvent, any Error>.makeStream()
        let node = ScriptedNode { _, _ in .scripted(events) }
        try await withGateway(node) { port, stop in
            try await RawClient.connected(to: port) { client in
                continuation.yield(.text(choice: 0, "one"))
                try await client.send(post(chat(#""stream":true"#)))
                _ = try await client.read(through: "one")
                await stop()
                try await RawClient.connected(to: port) { other in
                    // The signal is taken in another task; until it has, the host is ready.
                    while true {
                        try await other.send(get("/readyz"))
                        let reply = try await other.response()
                        if reply.status == 503 {
                            #expect(reply.body.contains("shutting down"))
                            break
                        }
                    }
                    try await other.send(post(chat()))
                    let reply = try await other.response()
                    #expect(reply.status == 503 && reply.headers["retry-after"] == "5")
                }
                for event in [ChatEvent].hello { continuation.yield(event) }
                continuation.finish()
                #expect(try await client.readToEnd().contains("[DONE]"))
            }
        }
    }

    @Test("what still runs after the drain is cut off")
    func drain() async throws {
        var configuration = GatewayConfiguration(host: "127.0.0.1", port: 0)
        configuration.limits.drain = .milliseconds(50)
        let (events, continuation) = AsyncThrowingStream<ChatEvent, any Error>.makeStream()
        let node = ScriptedNode { _, _ in .scripted(events) }
        try await withGateway(node, configuration: configuration) { port, stop in
            try await RawClient.connected(to: port) { client in
                continuation.yield(.text(choice: 0, "one"))
                try await client.send(post(chat(#""stream":true"#)))
                _ = try await client.read(through: "one")
                await stop()
                #expect((try? await client.readToEnd().contains("[DONE]")) != true)
            }
        }
    }

    @Test("answers that all stand still are not waited for to the end of the drain")
    func quietDrain() async throws {
        var configuration = GatewayConfiguration(host: "127.0.0.1", port: 0)
        // Far beyond the time limit of this suite.
        configuration.limits.drain = .seconds(3_600)
        configuration.limits.drainQuiet = .milliseconds(50)
        let (events, continuation) = AsyncThrowingStream<ChatEvent, any Error>.makeStream()
        let node = ScriptedNode { _, _ in .scripted(events) }
        try await withGateway(node, configuration: configuration) { port, stop in
            try await RawClient.connected(to: port) { client in
                continuation.yield(.text(choice: 0, "one"))
                try await client.send(post(chat(#""stream":true"#)))
                _ = try await client.read(through: "one")
                await stop()
                #expect((try? await client.readToEnd().contains("[DONE]")) != true)
            }
        }
    }

    @Test("a port that is taken is named in the error")
    func portInUse() async throws {
        try await withGateway(Self.node) { port, _ in
            let error = await #expect(throws: RuntimeError.self) {
                try await withGateway(
                    Self.node, configuration: GatewayConfiguration(host: "127.0.0.1", port: port)
                ) { _, _ in }
            }
            #expect(error?.code == .configuration)
            #expect(error?.message.contains("\(port)") == true)
        }
    }
}

extension String {
    /// How often `part` occurs.
    fileprivate func components(of part: String) -> Int { ranges(of: part).count }
}
