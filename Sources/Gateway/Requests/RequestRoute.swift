import Core
import Guardian
import HTTPTypes

/// Requests that are answered in the background.
enum RequestRoute: Hashable {
    case all
    case one(String)
    case cancel(String)

    init?(path: Substring) {
        guard path.hasPrefix("/v1/requests") else { return nil }
        let parts = path.dropFirst("/v1/".count).split(separator: "/", omittingEmptySubsequences: false).map(
            String.init)
        switch parts.count {
        case 1 where parts[0] == "requests": self = .all
        case 2 where parts[0] == "requests" && !parts[1].isEmpty: self = .one(parts[1])
        case 3 where parts[0] == "requests" && parts[2] == "cancel" && !parts[1].isEmpty: self = .cancel(parts[1])
        default: return nil
        }
    }

    var access: Access {
        switch self {
        case .all, .one, .cancel: .chat
        }
    }

    var methods: [HTTPRequest.Method] {
        switch self {
        case .all: [.get, .head, .post]
        case .one: [.get, .head, .delete]
        case .cancel: [.post]
        }
    }

    var pattern: String {
        switch self {
        case .all: "/v1/requests"
        case .one: "/v1/requests/{id}"
        case .cancel: "/v1/requests/{id}/cancel"
        }
    }
}
