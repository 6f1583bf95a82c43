import Guardian
import HTTPTypes

/// What a client asks about itself.
enum AuthRoute: String, Hashable {
    /// A nonce to sign.
    case challenge = "/v1/auth/challenge"
    /// A session for a signed nonce.
    case session = "/v1/auth/session"
    /// As whom it is known here.
    case identity = "/v1/auth/identity"

    var access: Access {
        switch self {
        case .challenge, .session: .anyone
        case .identity: .known
        }
    }

    var methods: [HTTPRequest.Method] {
        switch self {
        case .challenge, .session: [.post]
        case .identity: [.get, .head]
        }
    }
}
