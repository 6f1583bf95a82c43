import Guardian
import HTTPTypes

/// What a request in Anthropic's dialect asks.
enum AnthropicRoute: String, CaseIterable {
    case messages = "/v1/messages"
    case countTokens = "/v1/messages/count_tokens"

    var pattern: String { rawValue }
    var access: Access {
        switch self {
        case .messages, .countTokens: .chat
        }
    }
    var methods: [HTTPRequest.Method] { [.post] }
}
