package import Cryptography

/// What opens a store: 32 bytes, and where they come from.
package enum StoreKey: Sendable {
    /// From `mcp.encryption_key`: the same key opens a copy of the store on any host.
    case custom(SymmetricKey)
    /// From this host's ``DeviceKey``: with it the host's name is bound in, so that a copied file opens nowhere else.
    case device(SymmetricKey)
}
