import Guardian
import HTTPTypes

/// What an operator asks of the tokens of clients.
enum TokenRoute: Hashable {
    case all
    /// By name or id.
    case one(String)

    init?(path: Substring) {
        let root = "/v1/admin/tokens"
        if path == root {
            self = .all
        } else if path.hasPrefix("\(root)/"), let name = Route.decoded(path.dropFirst(root.count + 1)) {
            self = .one(name)
        } else {
            return nil
        }
    }

    var access: Access {
        switch self {
        case .all, .one: .admin
        }
    }

    var methods: [HTTPRequest.Method] {
        switch self {
        case .all: [.get, .head, .post]
        case .one: [.delete]
        }
    }

    var pattern: String {
        switch self {
        case .all: "/v1/admin/tokens"
        case .one: "/v1/admin/tokens/{name}"
        }
    }
}
