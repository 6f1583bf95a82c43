package import Core

/// As whom a request is answered, and what that one may do.
package struct Identity: Sendable {
    package var owner: Owner
    package var scopes: Scopes
    /// Nil for everyone without one.
    package var token: AccessToken?
    package var zone: TrustZone

    package init(owner: Owner, scopes: Scopes, token: AccessToken? = nil, zone: TrustZone = .trusted) {
        self.zone = zone
        self.owner = owner
        self.scopes = scopes
        self.token = token
    }
}
