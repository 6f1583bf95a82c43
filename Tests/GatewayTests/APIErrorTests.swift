import Core
import Testing

@testable import Gateway

@Suite struct APIErrorTests {
    @Test(
        "every code of a RuntimeError has its status, type and code",
        arguments: [
            (RuntimeError.Code.invalidRequest, 400, "invalid_request_error", "invalid_request"),
            (.contextLengthExceeded, 400, "invalid_request_error", "context_length_exceeded"),
            (.unauthenticated, 401, "authentication_error", "invalid_api_key"),
            (.forbidden, 403, "permission_error", "forbidden"),
            (.notFound, 404, "invalid_request_error", "not_found"),
            (.modelNotFound, 404, "invalid_request_error", "model_not_found"),
            (.tooLarge, 413, "invalid_request_error", "request_too_large"),
            (.overloaded, 429, "rate_limit_error", "overloaded"),
            (.unavailable, 503, "server_error", "unavailable"), (.wrongKey, 503, "server_error", "store_locked"),
            (.timedOut, 504, "server_error", "timed_out"), (.engineFailed, 500, "server_error", "engine_failed"),
            (.corrupt, 500, "server_error", "server_error"), (.configuration, 500, "server_error", "server_error"),
            (.damaged, 503, "server_error", "conversation_damaged"),
            (.storageFull, 507, "server_error", "insufficient_storage"),
            (.system, 500, "server_error", "server_error"), (.internal, 500, "server_error", "server_error"),
        ])
    func map(_ code: RuntimeError.Code, _ status: Int, _ type: String, _ name: String) {
        let error = APIError(RuntimeError(code, "why"))
        #expect(error.status == status && error.type == type && error.code == name)
    }

    @Test("the body has all four members, null where there is nothing")
    func body() {
        let error = APIError(RuntimeError(.invalidRequest, "say \"please\"", parameter: "n"))
        #expect(
            String(decoding: error.body, as: UTF8.self)
                == #"{"error":{"message":"say \"please\"","type":"invalid_request_error","param":"n","code":"invalid_request"}}"#
        )
        #expect(String(decoding: APIError.malformed.body, as: UTF8.self).contains(#""param":null"#))
    }

    @Test("unexpected errors and our own mistakes tell a client nothing")
    func opaque() {
        struct Leak: Error { let path = "/home/secret" }
        for error: any Error in [Leak(), RuntimeError(.internal, "/home/secret")] {
            let told = APIError(error)
            #expect(told.status == 500)
            #expect(!String(decoding: told.body, as: UTF8.self).contains("secret"))
        }
    }

    @Test("a client is told when to come back, in seconds and in milliseconds")
    func retry() {
        func headers(_ error: RuntimeError) -> [String: String] {
            Dictionary(uniqueKeysWithValues: APIError(error).headers.map { ($0.name, $0.value) })
        }
        #expect(
            headers(RuntimeError(.overloaded, "", retryAfter: .milliseconds(1_200)))
                == ["retry-after": "2", "retry-after-ms": "1200"])
        #expect(headers(RuntimeError(.unavailable, "")) == ["retry-after": "2", "retry-after-ms": "2000"])
        #expect(headers(RuntimeError(.unavailable, "", retryAfter: .seconds(-5)))["retry-after"] == "0")
        #expect(headers(RuntimeError(.unavailable, "", retryAfter: .seconds(Int64.max / 2)))["retry-after"] == "86400")
        #expect(headers(RuntimeError(.unauthenticated, ""))["www-authenticate"] == "Bearer")
        #expect(headers(RuntimeError(.engineFailed, "")).isEmpty)
        #expect(headers(RuntimeError(.storageFull, "")) == ["x-should-retry": "false"])
    }
}

@Suite struct RouteTests {
    @Test(
        "a path leads to its route",
        arguments: [
            ("/", Route.banner), ("/v1/chat/completions", .chatCompletions),
            ("/v1/chat/completions/", .chatCompletions),
            ("/v1/models", .models), ("/v1/models/", .models), ("/v1/models/a", .model("a")),
            ("/v1/models/vendor/big:4b", .model("vendor/big:4b")),
            ("/v1/models/vendor%2Fbig%3a4b", .model("vendor/big:4b")), ("/v1/models/%C3%A9", .model("é")),
            ("/v1/health", .health), ("/v1/health/live", .live), ("/livez", .live), ("/readyz", .ready),
            ("/v1/health/ready", .ready), ("/v1/mcp/contexts", .contexts), ("/v1/mcp/contexts/a%20b", .context("a b")),
            ("/v1/status", .status), ("/metrics", .metrics),
        ])
    func routes(_ path: String, _ route: Route) {
        #expect(Route(path: path[...]) == route)
    }

    @Test(
        "other paths lead nowhere",
        arguments: [
            "", "//", "/v1", "/v1/chat", "/v1/modelsx", "/v1/models/%", "/v1/models/%4", "/v1/models/%zz",
            "/v1/models/%ff", "/LIVEZ",
        ])
    func unknown(_ path: String) {
        #expect(Route(path: path[...]) == nil)
    }
}

@Suite struct HTTPDateTests {
    @Test("the date reads as RFC 9110 writes it")
    func date() {
        #expect(HTTPDate.text(784_111_777) == "Sun, 06 Nov 1994 08:49:37 GMT")
    }
}
