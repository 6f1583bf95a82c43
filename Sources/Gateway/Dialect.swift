import Core
import HTTPTypes

/// Whose words a path speaks: it decides how an error looks there.
enum Dialect: Hashable {
    case openAI
    case anthropic
    case ollama

    /// Of any path, also one that leads nowhere.
    init(path: some StringProtocol) {
        // Byte by byte: characters would be composed first.
        if path.utf8.elementsEqual("/v1/messages".utf8) || path.utf8.starts(with: "/v1/messages/".utf8) {
            self = .anthropic
        } else {
            self = path.utf8.starts(with: "/api/".utf8) ? .ollama : .openAI
        }
    }

    func reply(_ error: APIError, requestID: String) -> Reply {
        var reply = Reply(error)
        switch self {
        case .openAI: break
        case .anthropic: reply.body = AnthropicError.body(error, requestID: requestID)
        case .ollama:
            reply.body = OllamaError.body(error)
            // As Ollama's own server says that its queue is full.
            if error.code == RuntimeError.Code.overloaded.rawValue { reply.status = .serviceUnavailable }
        }
        return reply
    }
}
