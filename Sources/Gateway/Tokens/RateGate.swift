import Core
import Guardian
import Synchronization

/// How often a token and an address may ask this host.
final class RateGate: Sendable {
    private struct State {
        var tokens = RateLimiter<TokenDigest>(limit: Limits.rateBuckets)
        var addresses = RateLimiter<[UInt8]>(limit: Limits.rateBuckets)
    }

    /// Requests a minute of one address; nil: as many as come.
    private let perAddress: Int?
    private let start = ContinuousClock.now
    private let state = Mutex(State())

    init(perAddress: Int?) { self.perAddress = perAddress }

    /// Before anything else is looked at, so that keys are not tried out faster, either. Hosts of the swarm and this
    /// machine itself are not counted. Throws ``APIError`` 429.
    func admit(_ client: ClientConnection) throws(APIError) {
        guard let perAddress, let address = client.peer, !address.isLoopback, client.certificate == nil else { return }
        // Whoever has one address of the sixth version has 2^64 of them.
        let who = address.isVersion4 ? address.bytes : Array(address.bytes.prefix(8))
        let wait = state.withLock { $0.addresses.wait(who, rate: perAddress, at: ContinuousClock.now - start) }
        if let wait { throw .rateLimited("this address has sent more than \(perAddress) requests in a minute", wait) }
    }

    /// Throws ``APIError`` 429.
    func admit(_ token: AccessToken?) throws(APIError) {
        guard let token, let rate = token.rate else { return }
        let wait = state.withLock { $0.tokens.wait(token.digest, rate: rate, at: ContinuousClock.now - start) }
        if let wait { throw .rateLimited("this token is good for \(rate) requests a minute, which are spent", wait) }
    }
}

extension APIError {
    static let rateCode = "rate_limit_exceeded"

    fileprivate static func rateLimited(_ message: String, _ wait: Duration) -> APIError {
        APIError(
            429, type: "rate_limit_error", code: rateCode, "\(message); try again later",
            headers: retryHeaders(wait))
    }
}
