import Core

/// One failure as the client sees it: the status, and OpenAI's error object.
struct APIError: Error, Sendable {
    var status: Int
    /// The family of the error, as OpenAI names them.
    var type: String
    var code: String
    /// The request field that is wrong, where one is.
    var parameter: String?
    var message: String
    var headers: [(name: String, value: String)] = []

    init(
        _ status: Int, type: String = "invalid_request_error", code: String, parameter: String? = nil,
        _ message: String, headers: [(name: String, value: String)] = []
    ) {
        self.status = status
        self.type = type
        self.code = code
        self.parameter = parameter
        self.message = message
        self.headers = headers
    }

    /// `{"error": {…}}`; all four members are always there, as OpenAI's description demands.
    var body: [UInt8] {
        let error: JSON = [
            "message": .string(message), "type": .string(type), "param": parameter.map { .string($0) } ?? nil,
            "code": .string(code),
        ]
        return (["error": error] as JSON).encoded
    }
}

extension APIError {
    /// What a client is told of any error. Unexpected ones say nothing of themselves: their text was not written for
    /// strangers.
    init(_ error: any Error) {
        switch error {
        case let error as APIError: self = error
        case let error as RuntimeError: self.init(error)
        default: self.init(RuntimeError(.internal, ""))
        }
    }

    private init(_ error: RuntimeError) {
        let (status, type, code) = Self.shape(of: error.code)
        self.init(status, type: type, code: code, parameter: error.parameter, error.message)
        switch error.code {
        case .modelNotFound: parameter = parameter ?? "model"
        case .contextLengthExceeded: parameter = parameter ?? "messages"
        case .unauthenticated: headers.append(("www-authenticate", "Bearer"))
        // The libraries of OpenAI would ask again twice, for nothing.
        case .storageFull: headers.append(("x-should-retry", "false"))
        case .internal: message = "the server made a mistake; its log says more under this request's x-request-id"
        default: break
        }
        switch error.cause as? QueueExit {
        case .full(let position)?: headers.append((Self.position, "\(position)"))
        case .expired(let position)?:
            // It said itself how long it would wait.
            headers += [(Self.position, "\(position)"), ("x-should-retry", "false")]
        case .moved?, nil: break
        }
        if let wait = error.retryAfter ?? Self.usualWait(after: error.code) { headers += Self.retryHeaders(wait) }
    }

    private static let position = "x-igris-queue-position"

    private static func shape(of code: RuntimeError.Code) -> (status: Int, type: String, code: String) {
        switch code {
        case .invalidRequest: (400, "invalid_request_error", "invalid_request")
        case .contextLengthExceeded: (400, "invalid_request_error", "context_length_exceeded")
        case .unauthenticated: (401, "authentication_error", "invalid_api_key")
        case .forbidden: (403, "permission_error", "forbidden")
        case .notFound: (404, "invalid_request_error", "not_found")
        case .modelNotFound: (404, "invalid_request_error", "model_not_found")
        case .tooLarge: (413, "invalid_request_error", "request_too_large")
        case .overloaded: (429, "rate_limit_error", "overloaded")
        case .unavailable: (503, "server_error", "unavailable")
        case .wrongKey: (503, "server_error", "store_locked")
        case .damaged: (503, "server_error", "conversation_damaged")
        case .timedOut: (504, "server_error", "timed_out")
        case .engineFailed: (500, "server_error", "engine_failed")
        case .storageFull: (507, "server_error", "insufficient_storage")
        case .corrupt, .configuration, .system, .internal: (500, "server_error", "server_error")
        }
    }

    private static func usualWait(after code: RuntimeError.Code) -> Duration? {
        switch code {
        case .overloaded: .seconds(1)
        case .unavailable, .damaged: .seconds(2)
        default: nil
        }
    }

    /// Whole seconds for everyone, milliseconds for the OpenAI libraries.
    static func retryHeaders(_ wait: Duration) -> [(name: String, value: String)] {
        let (seconds, attoseconds) = max(wait, .zero).components
        let milliseconds = min(seconds, 86_400) * 1_000 + attoseconds / 1_000_000_000_000_000
        return [("retry-after", "\((milliseconds + 999) / 1_000)"), ("retry-after-ms", "\(milliseconds)")]
    }

    /// For new work while the old is let to its end.
    static var draining: APIError {
        APIError(
            503, type: "server_error", code: "unavailable", "this host is shutting down; send the request elsewhere",
            headers: retryHeaders(.seconds(5)))
    }
}
