import Core
import NIOHTTP1

/// What can be wrong with a request before anyone knows whom it is for.
extension APIError {
    /// Nil for a head that every HTTP/1.1 server reads alike. The parser has seen to the rest: names, values, lengths.
    static func problem(in head: HTTPRequestHead) -> APIError? {
        if head.version != .http1_1 { return .versionNotSupported }
        if head.headers[canonicalForm: "host"].count != 1 {
            return APIError(400, code: "bad_request", "the request must have exactly one Host header")
        }
        if head.headers.contains(name: "transfer-encoding"), head.headers.contains(name: "content-length") {
            return APIError(
                400, code: "bad_request",
                "the request has both Transfer-Encoding and Content-Length, so that its end is unclear")
        }
        // An absolute target could name another host than the Host header does.
        if !(head.uri.hasPrefix("/") || (head.method == .OPTIONS && head.uri == "*")) {
            return APIError(400, code: "bad_request", "the request's target must be a path")
        }
        return nil
    }

    static var malformed: APIError { APIError(400, code: "bad_request", "the request is not well-formed HTTP/1.1") }
    static var versionNotSupported: APIError {
        APIError(505, type: "server_error", code: "version_not_supported", "this host speaks HTTP/1.1 only")
    }
    static var headersTooLarge: APIError {
        APIError(
            431, code: "headers_too_large",
            "the request's headers are too large: at most \(Limits.headerFields) fields, "
                + "\(Limits.headerFieldBytes) bytes each, \(Limits.headerBytes) together")
    }
    static var headTooSlow: APIError {
        APIError(408, code: "timed_out", "the request's headers did not arrive in time")
    }
    static var bodyTooSlow: APIError {
        APIError(408, code: "timed_out", "the request's body did not arrive in time")
    }
    static var tooManyConnections: APIError {
        APIError(
            503, type: "server_error", code: "overloaded",
            "this host has too many connections open; try again in a moment", headers: retryHeaders(.seconds(1)))
    }
}
