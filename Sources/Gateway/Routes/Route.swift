import Core
import Guardian
import HTTPTypes

/// What a request is for.
enum Route: Hashable {
    case banner
    case document
    case chatCompletions
    case models
    case model(String)
    case health
    case live
    case ready
    case contexts
    case context(String)
    case status
    case metrics
    case logs
    case explain
    case anthropic(AnthropicRoute)
    case ollama(OllamaRoute)
    case openAI(OpenAIRoute)
    case swarm(SwarmRoute)
    case request(RequestRoute)
    case admin(ModelRoute)
    case tokens(TokenRoute)
    case store(StoreRoute)
    case audit
    case auth(AuthRoute)
    case drain

    /// The route of a path, whatever the method. Nil for a path that leads nowhere.
    init?(path: Substring) {
        if path == "/" {
            self = .banner
            return
        }
        switch path.hasSuffix("/") ? path.dropLast() : path {
        case "/v1/chat/completions": self = .chatCompletions
        case "/openapi.yaml": self = .document
        case "/v1/models": self = .models
        case "/health", "/v1/health": self = .health
        case "/livez", "/v1/health/live": self = .live
        case "/ready", "/readyz", "/v1/health/ready": self = .ready
        case "/v1/mcp/contexts": self = .contexts
        case "/v1/status": self = .status
        case "/metrics": self = .metrics
        case "/v1/logs": self = .logs
        case "/v1/route/explain": self = .explain
        case "/v1/admin/drain": self = .drain
        case "/v1/admin/audit": self = .audit
        case let path where path.hasPrefix("/v1/models/"):
            // A model's name may hold slashes and colons, escaped or not.
            guard let name = Self.decoded(path.dropFirst("/v1/models/".count)) else { return nil }
            self = .model(name)
        case let path where path.hasPrefix("/v1/mcp/contexts/"):
            guard let id = Self.decoded(path.dropFirst("/v1/mcp/contexts/".count)) else { return nil }
            self = .context(id)
        case let path:
            if let route = OpenAIRoute(path: path) {
                self = .openAI(route)
            } else if let route = AnthropicRoute(rawValue: String(path)) {
                self = .anthropic(route)
            } else if let route = OllamaRoute(path: path) {
                self = .ollama(route)
            } else if let route = SwarmRoute(path: path) {
                self = .swarm(route)
            } else if let route = RequestRoute(path: path) {
                self = .request(route)
            } else if let route = ModelRoute(path: path) {
                self = .admin(route)
            } else if let route = TokenRoute(path: path) {
                self = .tokens(route)
            } else if let route = AuthRoute(rawValue: String(path)) {
                self = .auth(route)
            } else if let route = StoreRoute(path: path) {
                self = .store(route)
            } else {
                return nil
            }
        }
    }

    /// Who may use it. Every route says so itself: one that does not, does not compile.
    var access: Access {
        switch self {
        case .banner, .document, .health, .live, .ready, .models, .model: .known
        case .chatCompletions, .contexts, .context: .chat
        case .status, .metrics, .logs, .explain: .read
        case .anthropic(let route): route.access
        case .ollama(let route): route.access
        case .openAI(let route): route.access
        case .swarm(let route): route.access
        case .request(let route): route.access
        case .admin(let route): route.access
        case .tokens(let route): route.access
        case .auth(let route): route.access
        case .store(let route): route.access
        case .drain, .audit: .admin
        }
    }

    var methods: [HTTPRequest.Method] {
        switch self {
        case .chatCompletions: [.get, .head, .post]
        case .openAI(let route): route.methods
        case .context: [.get, .head, .delete]
        case .anthropic(let route): route.methods
        case .ollama(let route): route.methods
        case .swarm(let route): route.methods
        case .request(let route): route.methods
        case .admin(let route): route.methods
        case .tokens(let route): route.methods
        case .auth(let route): route.methods
        case .store(let route): route.methods
        case .drain: [.get, .head, .post]
        default: [.get, .head]
        }
    }

    var bodyLimit: Int {
        switch self {
        case .chatCompletions, .anthropic, .request(.all): Limits.inferenceBodyBytes
        case .openAI(let route) where route.takesPrompts: Limits.inferenceBodyBytes
        case .ollama(let route) where route.isInference: Limits.inferenceBodyBytes
        default: Limits.bodyBytes
        }
    }

    /// Asks an engine for work: refused while the host shuts down.
    func infers(_ method: HTTPRequest.Method) -> Bool {
        switch self {
        case .chatCompletions: method == .post
        case .anthropic: true
        case .ollama(let route): route.isInference
        case .openAI(let route): route.infers
        case .request(.all): method == .post
        default: false
        }
    }

    /// The path as metrics name it: without ids, so that there are few.
    var pattern: String {
        switch self {
        case .banner: "/"
        case .document: "/openapi.yaml"
        case .chatCompletions: "/v1/chat/completions"
        case .models: "/v1/models"
        case .model: "/v1/models/{id}"
        case .health: "/v1/health"
        case .live: "/livez"
        case .ready: "/readyz"
        case .contexts: "/v1/mcp/contexts"
        case .context: "/v1/mcp/contexts/{id}"
        case .status: "/v1/status"
        case .metrics: "/metrics"
        case .logs: "/v1/logs"
        case .explain: "/v1/route/explain"
        case .anthropic(let route): route.pattern
        case .ollama(let route): route.pattern
        case .openAI(let route): route.pattern
        case .swarm(let route): route.pattern
        case .request(let route): route.pattern
        case .admin(let route): route.pattern
        case .tokens(let route): route.pattern
        case .auth(let route): route.rawValue
        case .store(let route): route.pattern
        case .drain: "/v1/admin/drain"
        case .audit: "/v1/admin/audit"
        }
    }

    /// What an operator's request is about, by its path.
    var target: String? {
        switch self {
        case .tokens(.one(let name)), .admin(.model(let name)): name
        default: nil
        }
    }

    /// Percent escapes resolved; nil for a broken escape or bytes that are no UTF-8.
    static func decoded(_ text: Substring) -> String? {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let pair = String(rest.prefix(2)), let value = [UInt8](hex: pair), value.count == 1 else {
                return nil
            }
            bytes += value
            rest = rest.dropFirst(2)
        }
        return String(validating: bytes, as: UTF8.self)
    }
}
