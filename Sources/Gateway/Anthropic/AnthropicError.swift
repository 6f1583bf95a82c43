import Core

/// One failure in Anthropic's words.
enum AnthropicError {
    /// `{"type": "error", "error": {…}, "request_id": …}`
    static func body(_ error: APIError, requestID: String) -> [UInt8] {
        (["type": "error", "error": object(error), "request_id": .string(requestID)] as JSON).encoded
    }

    /// The object within. The field that is wrong stands in the message, too.
    static func object(_ error: APIError) -> JSON {
        var object = JSON.Object()
        object["type"] = .string(type(of: error))
        object["message"] = .string(error.message)
        if let parameter = error.parameter { object["param"] = .string(parameter) }
        return .object(object)
    }

    private static func type(of error: APIError) -> String {
        switch error.status {
        case 401: "authentication_error"
        case 403: "permission_error"
        case 404: "not_found_error"
        case 413: "request_too_large"
        case 429: "rate_limit_error"
        case 503: "overloaded_error"
        case 504: "timeout_error"
        case 500...: "api_error"
        default: "invalid_request_error"
        }
    }
}
