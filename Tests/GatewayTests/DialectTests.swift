import Core
import Node
import Testing

@testable import Gateway

/// Anthropic's and Ollama's routes, over a socket.
struct DialectTests {
    private static let messages = #"{"model":"phi3","max_tokens":9,"messages":[{"role":"user","content":"hi"}]"#
    private static let ollama = #"{"model":"phi3:latest","messages":[{"role":"user","content":"hi"}]"#

    private func node(_ events: [ChatEvent] = .hello, failure: (any Error)? = nil) -> ScriptedNode {
        ScriptedNode { request, _ in
            guard request.model == "phi3" else { throw RuntimeError(.modelNotFound, "no such model; there is phi3") }
            return .scripted(events, failure: failure)
        }
    }

    private func respond(_ request: String, by node: ScriptedNode? = nil) async throws -> RawClient.Response {
        try await withGateway(node ?? self.node()) { port, _ in
            try await RawClient.connected(to: port) { client in
                try await client.send(request)
                return try await client.response()
            }
        }
    }

    @Test func `Anthropic's messages, whole`() async throws {
        let response = try await respond(
            post(Self.messages + "}", "anthropic-version: 2023-06-01\r\nx-request-id: r-1\r\n", path: "/v1/messages"))
        #expect(response.status == 200)
        #expect(response.headers["request-id"] == "r-1" && response.headers["x-request-id"] == "r-1")
        #expect(response.headers["x-conversation-id"] == "conv-1")
        let body = try JSON.parse(response.body)
        #expect(body["content"] == [["type": "text", "text": "Hello \"you\"\n"]])
        #expect(body["id"]?.string?.hasPrefix("msg_") == true)
    }

    @Test func `Anthropic's messages, streamed`() async throws {
        let response = try await respond(post(Self.messages + #","stream":true}"#, path: "/v1/messages"))
        #expect(response.headers["content-type"] == "text/event-stream")
        #expect(response.body.hasPrefix("event: message_start\n"))
        #expect(response.body.hasSuffix("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"))
        #expect(!response.body.contains("[DONE]"))
    }

    @Test func `an answer that breaks off ends in each dialect's error`() async throws {
        let broken = node([.text(choice: 0, "Hel")], failure: RuntimeError(.engineFailed, "it broke"))
        let anthropic = try await respond(post(Self.messages + #","stream":true}"#, path: "/v1/messages"), by: broken)
        #expect(anthropic.body.contains("event: error\ndata: {\"type\":\"error\""))
        #expect(!anthropic.body.contains("message_stop"))
        let ollama = try await respond(post(Self.ollama + "}", path: "/api/chat"), by: broken)
        #expect(ollama.body.hasSuffix("{\"error\":\"it broke\"}\n"))
    }

    @Test func `tokens are counted without an answer`() async throws {
        let response = try await respond(
            post(#"{"model":"phi3","messages":[{"role":"user","content":"four"}]}"#, path: "/v1/messages/count_tokens"))
        #expect(response.body == #"{"input_tokens":4}"#)
    }

    @Test func `Ollama's chat is lines, and a name without a tag is found`() async throws {
        let response = try await respond(post(Self.ollama + "}", path: "/api/chat"))
        #expect(response.headers["content-type"] == "application/x-ndjson")
        let lines = try response.body.split(separator: "\n").map { try JSON.parse(String($0)) }
        #expect(lines.compactMap { $0["message"]?["content"]?.string }.joined() == "Hello \"you\"\n")
        #expect(lines.allSatisfy { $0["model"] == "phi3:latest" })
        #expect(lines.last?["done"] == true && lines.last?["eval_count"] == 2)
    }

    @Test func `Ollama's generate, whole`() async throws {
        let response = try await respond(
            post(#"{"model":"phi3","prompt":"hi","stream":false}"#, path: "/api/generate"))
        #expect(response.headers["content-type"] == "application/json")
        #expect(try JSON.parse(response.body)["response"] == "Hello \"you\"\n")
    }

    @Test func `a request without a question only asks for the model`() async throws {
        let load = try await respond(post(#"{"model":"phi3","keep_alive":"5m"}"#, path: "/api/generate"))
        #expect(try JSON.parse(load.body)["done_reason"] == "load")
        let unknown = try await respond(post(#"{"model":"gpt-9","messages":[]}"#, path: "/api/chat"))
        #expect(unknown.status == 404)
    }

    @Test func `Ollama's clients see what there is`() async throws {
        let tags = try JSON.parse(try await respond(get("/api/tags")).body)["models"]?.array ?? []
        #expect(tags.map { $0["name"]?.string } == ["igris-recall", "phi3", "vendor/big:4b"])
        #expect(tags.first?["digest"]?.string == String(repeating: "ab", count: 32))
        #expect(tags.first?["details"]?["parameter_size"] == "917.5K")
        #expect(tags.first?["details"]?["quantization_level"] == "Q8_0")
        let running = try JSON.parse(try await respond(get("/api/ps")).body)["models"]?.array ?? []
        #expect(running.map { $0["name"]?.string } == ["igris-recall"])
        let shown = try JSON.parse(try await respond(post(#"{"model":"phi3:latest"}"#, path: "/api/show")).body)
        #expect(shown["capabilities"] == ["completion"])
        #expect(shown["model_info"]?["llama.context_length"] == 512)
        #expect(try JSON.parse(try await respond(get("/api/version")).body)["version"]?.string?.isEmpty == false)
    }

    @Test func `embeddings, one and many`() async throws {
        let many = try await respond(post(#"{"model":"igris-recall","input":["a","bb"]}"#, path: "/api/embed"))
        #expect(try JSON.parse(many.body)["embeddings"] == [[1.0, 0.5], [2.0, 0.5]])
        let one = try await respond(post(#"{"model":"igris-recall","prompt":"abc"}"#, path: "/api/embeddings"))
        #expect(try JSON.parse(one.body)["embedding"] == [3.0, 0.5])
    }

    @Test(
        arguments: [
            ("POST", "/api/pull"), ("POST", "/api/create"), ("POST", "/api/push"), ("POST", "/api/copy"),
            ("DELETE", "/api/delete"), ("POST", "/api/blobs/sha256:00"), ("GET", "/api/chat"),
        ])
    func `Ollama's clients change no models`(method: String, path: String) async throws {
        let response = try await respond("\(method) \(path) HTTP/1.1\r\nHost: localhost\r\n\r\n")
        #expect(response.status == 405)
        #expect(try JSON.parse(response.body)["error"]?.string?.isEmpty == false)
    }

    @Test(
        arguments: [
            ("/v1/messages", Self.messages + #","temperature":"hot"}"#, 400, "temperature"),
            ("/v1/messages", "{", 400, "JSON"), ("/v1/messages/batches", "{}", 404, "path"),
            (
                "/v1/messages", #"{"model":"gpt-9","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#, 404,
                "phi3"
            ),
        ])
    func `errors on Anthropic's paths are Anthropic's`(
        path: String, body: String, status: Int, word: String
    ) async throws {
        let response = try await respond(post(body, path: path))
        #expect(response.status == status)
        let error = try JSON.parse(response.body)
        #expect(error["type"] == "error" && error["request_id"]?.string == response.headers["request-id"])
        #expect(error["error"]?["message"]?.string?.contains(word) == true)
    }

    @Test(
        arguments: [
            ("/api/chat", Self.ollama + #","format":"xml"}"#, 400, "format"), ("/api/chat", "{", 400, "JSON"),
            ("/api/nothing", "{}", 404, "path"), ("/api/show", "{}", 400, "model"),
            ("/api/show", #"{"model":"gpt-9"}"#, 404, "igris-recall"), ("/api/embed", #"{"model":"m"}"#, 400, "input"),
        ])
    func `errors on Ollama's paths are Ollama's`(
        path: String, body: String, status: Int, word: String
    ) async throws {
        let response = try await respond(post(body, path: path))
        #expect(response.status == status)
        let error = try JSON.parse(response.body)
        #expect(error.object?.members.count == 1)
        #expect(error["error"]?.string?.contains(word) == true)
    }
}
