import Core

/// Where a server that listens on an address of the settings can be reached, for telling others.
struct Reach: Hashable, Sendable {
    private enum Scope: Hashable {
        case ipv4
        case all
        case only(ScopedAddress)
    }

    private let scope: Scope

    /// `0.0.0.0`, `::`, an address, or a host name, which is taken for one of this machine's.
    init(host: String) {
        let bare = host.hasPrefix("[") && host.hasSuffix("]") ? String(host.dropFirst().dropLast()) : host
        guard let address = ScopedAddress(bare) else {
            scope = bare == "localhost" ? .only(.loopback) : .all
            return
        }
        scope = address.isUnspecified ? (address.isIPv6 ? .all : .ipv4) : .only(address)
    }

    var isLoopbackOnly: Bool {
        if case .only(let address) = scope { address.isLoopback } else { false }
    }

    /// The addresses of `interface` that the server listens on.
    func addresses(of interface: NetworkInterface) -> [ScopedAddress] {
        interface.addresses.map(\.address).filter { address in
            switch scope {
            case .ipv4: !address.isIPv6
            case .all: true
            case .only(let only): only.bytes == address.bytes
            }
        }
    }
}
