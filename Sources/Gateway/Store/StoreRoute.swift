import Guardian
import HTTPTypes

/// What an operator asks of this host's store.
enum StoreRoute: Hashable {
    case backup
    case key

    init?(path: Substring) {
        switch path {
        case "/v1/admin/backup": self = .backup
        case "/v1/admin/store/key": self = .key
        default: return nil
        }
    }

    var access: Access {
        switch self {
        case .backup, .key: .admin
        }
    }

    var methods: [HTTPRequest.Method] {
        switch self {
        case .backup: [.post]
        case .key: [.get, .head, .post]
        }
    }

    var pattern: String {
        switch self {
        case .backup: "/v1/admin/backup"
        case .key: "/v1/admin/store/key"
        }
    }
}
