import Guardian
import HTTPTypes

/// What a request in Ollama's dialect asks.
enum OllamaRoute: String, CaseIterable {
    case version = "/api/version"
    case tags = "/api/tags"
    case show = "/api/show"
    case running = "/api/ps"
    case chat = "/api/chat"
    case generate = "/api/generate"
    case embed = "/api/embed"
    /// The older form of ``embed``.
    case embeddings = "/api/embeddings"
    // What would change which models there are: refused with the way that there is.
    case create = "/api/create"
    case pull = "/api/pull"
    case push = "/api/push"
    case copy = "/api/copy"
    case delete = "/api/delete"
    case blobs = "/api/blobs/{digest}"

    init?(path: some StringProtocol) {
        if path.hasPrefix("/api/blobs/") {
            self = .blobs
        } else {
            self.init(rawValue: String(path))
        }
    }

    var pattern: String { rawValue }

    var access: Access {
        switch self {
        case .version, .tags, .show, .running: .known
        // Those that change models are refused to everyone, with what to do instead.
        case .chat, .generate, .embed, .embeddings, .create, .pull, .push, .copy, .delete, .blobs: .chat
        }
    }

    var methods: [HTTPRequest.Method] {
        switch self {
        case .version, .tags, .running: [.get, .head]
        case .show, .chat, .generate, .embed, .embeddings, .create, .pull, .push, .copy: [.post]
        case .delete: [.delete]
        case .blobs: [.head, .post]
        }
    }

    var isInference: Bool { [.chat, .generate, .embed, .embeddings].contains(self) }
}
