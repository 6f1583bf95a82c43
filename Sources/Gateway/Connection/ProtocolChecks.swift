import Core
import NIOHTTP1

/// What can be wrong with a request before anyone knows whom it is for.
extension APIError {
    /// Nil for a head that every HTTP/1.1 server reads alike. The parser has seen to the rest: names, values, lengths.
    /// HTTP/1.0 is what nginx speaks to what stands behind it, unless told otherwise.
    static func problem(in head: HTTPRequestHead) -> APIError? {
        guard head.version == .http1_1 || head.version == .http1_0 else { return .versionNotSupported }
        let hosts = head.headers["host"]
        if hosts.count != 1 || hosts.contains(where: { $0.utf8.contains(UInt8(ascii: ",")) }) {
            return APIError(400, code: "bad_request", "the request must have exactly one Host header")
        }
        if head.headers.contains(name: "transfer-encoding"), head.headers.contains(name: "content-length") {
            return APIError(
                400, code: "bad_request",
                "the request has both Transfer-Encoding and Content-Length, so that its end is unclear")
        }
        // The parser counts further than anything here does.
        if head.headers.contains(name: "content-length"), head.bodyLength == nil { return .lengthTooLarge }
        // As it was sent: of a list with empty members another server may make something else.
        let codings = head.headers["transfer-encoding"]
        if !codings.isEmpty {
            // HTTP/1.0 has none; whoever passed such a request on may have read its end elsewhere (RFC 9112 §6.1).
            guard head.version == .http1_1 else {
                return APIError(400, code: "bad_request", "an HTTP/1.0 request cannot have a Transfer-Encoding")
            }
            guard codings.count == 1, codings.first?.lowercased() == "chunked" else { return .unknownCoding }
        }
        // An absolute target could name another host than the Host header does.
        if !(head.uri.hasPrefix("/") || (head.method == .OPTIONS && head.uri == "*")) {
            return APIError(400, code: "bad_request", "the request's target must be a path")
        }
        return nil
    }

    static var malformed: APIError { APIError(400, code: "bad_request", "the request is not well-formed HTTP/1.1") }
    static var versionNotSupported: APIError {
        APIError(
            505, type: "server_error", code: "version_not_supported", "this host speaks HTTP/1.1 and HTTP/1.0 only")
    }
    static var lengthTooLarge: APIError {
        APIError(413, code: "request_too_large", "the request's body is longer than any can be")
    }
    static var unknownCoding: APIError {
        APIError(
            400, code: "bad_request", "of transfer codings only chunked is taken; send the body as it is")
    }
    static var chunkTooLong: APIError {
        APIError(
            400, code: "bad_request",
            "a chunk of the body says more than its size: at most \(Limits.chunkExtensionBytes) bytes of extensions")
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

extension HTTPRequestHead {
    /// What `Content-Length` says; the parser has seen to it that there is one number in it, with space around it
    /// perhaps. Nil without one, or for one that is past all bounds.
    var bodyLength: Int? {
        guard let text = headers.first(name: "content-length") else { return nil }
        return Int(String(decoding: text.utf8.filter { $0 != 0x20 && $0 != 0x09 }, as: UTF8.self))
    }
}
