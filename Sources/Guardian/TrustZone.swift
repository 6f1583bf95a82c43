package import Core

/// How far a caller is trusted, by where it is and what it shows; the numbers are those of the seeds (003:237-242), and
/// cap whatever trust an agent claims for itself.
package enum TrustZone: String, Hashable, Sendable, CaseIterable {
    /// This machine itself.
    case local
    /// A network of ours, or a certificate of our authority.
    case trusted
    /// Everywhere else: may read, may change nothing, and is written down.
    case external

    package var trust: Double {
        switch self {
        case .local: 0.9
        case .trusted: 0.7
        case .external: 0.5
        }
    }
}

/// Which networks are ours.
package struct ZoneRule: Sendable {
    /// Those of which nobody routes anything into the Internet (RFC 1918, RFC 3927, RFC 4193, RFC 4291 §2.5.6), and what
    /// providers and overlay networks share (RFC 6598).
    package static let privateNetworks = [
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10", "fc00::/7", "fe80::/10",
    ].compactMap { AddressRange($0) }

    private let trusted: [AddressRange]
    private let external: [AddressRange]

    /// - Parameters:
    ///   - trusted: `auth.trusted_networks`, beside private ones and those that this machine is on.
    ///   - external: `auth.external_networks`; counts before all others.
    package init(trusted: [AddressRange] = [], external: [AddressRange] = []) {
        self.trusted = Self.privateNetworks + trusted
        self.external = external
    }

    /// - Parameters:
    ///   - isProven: the caller has shown a certificate of our authority.
    ///   - isNeighbour: whether an address is of a network that this machine is on.
    func zone(of address: IPAddress?, isLocal: Bool, isProven: Bool, isNeighbour: (IPAddress) -> Bool) -> TrustZone {
        if isLocal { return .local }
        if isProven { return .trusted }
        guard let address, !external.contains(where: { $0.contains(address) }) else { return .external }
        return trusted.contains { $0.contains(address) } || isNeighbour(address) ? .trusted : .external
    }
}
