package import Core

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

    /// Where others reach the server: on the LAN, or on loopback where there is nothing else. No link-local IPv6
    /// addresses, which mean nothing without an interface.
    func addresses(of interfaces: [NetworkInterface], port: Int) -> [NetworkAddress] {
        let all = interfaces.filter(\.isUp).flatMap(addresses).filter { !($0.isIPv6 && $0.isLinkLocal) }
        let lan = all.filter { !$0.isLoopback }
        return (lan.isEmpty ? all : lan).map { NetworkAddress(host: $0.description, port: port) }
    }
}

/// This machine's addresses.
package enum HostAddresses {
    /// Where others reach a server that listens on `host` (`server.host`) at `port`; read anew at each call.
    package static func reachable(host: String, port: Int) -> [NetworkAddress] {
        Reach(host: host).addresses(of: NetworkInterface.all(), port: port)
    }
}
