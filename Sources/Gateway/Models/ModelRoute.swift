import Guardian
import HTTPTypes

/// What an operator asks of this host's models.
enum ModelRoute: Hashable {
    case models
    case model(String)
    case copies

    init?(path: Substring) {
        let root = "/v1/admin/models"
        if path == root {
            self = .models
        } else if path == "/v1/admin/model-copies" {
            self = .copies
        } else if path.hasPrefix("\(root)/"), let name = Route.decoded(path.dropFirst(root.count + 1)) {
            self = .model(name)
        } else {
            return nil
        }
    }

    var access: Access {
        switch self {
        case .models, .model, .copies: .admin
        }
    }

    var methods: [HTTPRequest.Method] {
        switch self {
        case .models, .copies: [.post]
        case .model: [.delete]
        }
    }

    var pattern: String {
        switch self {
        case .models: "/v1/admin/models"
        case .model: "/v1/admin/models/{name}"
        case .copies: "/v1/admin/model-copies"
        }
    }
}
