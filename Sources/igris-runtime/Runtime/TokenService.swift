import Node
import ServiceLifecycle

/// Tokens are watched until the gateway has ended: one that is revoked during the shutdown ends its streams too.
struct TokenService: Service {
    let tokens: AccessTokens

    func run() async throws { await cancelWhenGracefulShutdown { await tokens.run() } }
}
