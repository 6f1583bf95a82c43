import Core
import Guardian
import HTTPTypes

/// What a request asks of OpenAI's dialect, beside chat completions.
enum OpenAIRoute: Hashable {
    case completions
    case embeddings
    case responses
    case inputTokens
    case compact
    case response(String)
    case cancelResponse(String)
    case inputItems(String)
    case conversations
    case conversation(String)
    case items(String)
    case item(String, of: String)
    case storedCompletion(String)
    case storedMessages(String)
    case stream(String)

    init?(path: Substring) {
        guard path.hasPrefix("/v1/") else { return nil }
        var parts: [String] = []
        for part in path.dropFirst("/v1/".count).split(separator: "/", omittingEmptySubsequences: false) {
            guard let part = Route.decoded(part), !part.isEmpty else { return nil }
            parts.append(part)
        }
        let id = parts.count > 1 ? parts[1] : ""
        switch (parts.first, parts.count) {
        case ("completions", 1): self = .completions
        case ("embeddings", 1): self = .embeddings
        case ("responses", 1): self = .responses
        case ("responses", 2):
            self = id == "input_tokens" ? .inputTokens : id == "compact" ? .compact : .response(id)
        case ("responses", 3) where parts[2] == "cancel": self = .cancelResponse(id)
        case ("responses", 3) where parts[2] == "input_items": self = .inputItems(id)
        case ("conversations", 1): self = .conversations
        case ("conversations", 2): self = .conversation(id)
        case ("conversations", 3) where parts[2] == "items": self = .items(id)
        case ("conversations", 4) where parts[2] == "items": self = .item(parts[3], of: id)
        case ("streams", 2): self = .stream(id)
        case ("chat", 3) where id == "completions": self = .storedCompletion(parts[2])
        case ("chat", 4) where id == "completions" && parts[3] == "messages": self = .storedMessages(parts[2])
        default: return nil
        }
    }

    var access: Access {
        switch self {
        case .completions, .embeddings, .responses, .inputTokens, .compact, .response, .cancelResponse, .inputItems,
            .conversations, .conversation, .items, .item, .storedCompletion, .storedMessages, .stream:
            .chat
        }
    }

    var methods: [HTTPRequest.Method] {
        switch self {
        case .completions, .embeddings, .responses, .inputTokens, .compact, .cancelResponse, .conversations: [.post]
        case .response, .item: [.get, .head, .delete]
        case .conversation, .storedCompletion: [.get, .head, .post, .delete]
        case .items: [.get, .head, .post]
        case .inputItems, .storedMessages, .stream: [.get, .head]
        }
    }

    /// Asks an engine for work.
    var infers: Bool {
        switch self {
        case .completions, .embeddings, .responses: true
        default: false
        }
    }

    var takesPrompts: Bool {
        switch self {
        case .completions, .embeddings, .responses, .inputTokens, .compact, .conversations, .items: true
        default: false
        }
    }

    var pattern: String {
        switch self {
        case .completions: "/v1/completions"
        case .embeddings: "/v1/embeddings"
        case .responses: "/v1/responses"
        case .stream: "/v1/streams/{id}"
        case .inputTokens: "/v1/responses/input_tokens"
        case .compact: "/v1/responses/compact"
        case .response: "/v1/responses/{id}"
        case .cancelResponse: "/v1/responses/{id}/cancel"
        case .inputItems: "/v1/responses/{id}/input_items"
        case .conversations: "/v1/conversations"
        case .conversation: "/v1/conversations/{id}"
        case .items: "/v1/conversations/{id}/items"
        case .item: "/v1/conversations/{id}/items/{item}"
        case .storedCompletion: "/v1/chat/completions/{id}"
        case .storedMessages: "/v1/chat/completions/{id}/messages"
        }
    }
}
