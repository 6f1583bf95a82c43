package import Core

/// Where this machine's server is reached, for telling others.
package enum ListeningAddresses {
    /// Those of the interfaces that are up and that `host` (as in the settings) listens on: other machines' first,
    /// loopback last, link-local IPv6 ones left out since their zones mean nothing elsewhere.
    package static func current(host: String, port: Int) -> [NetworkAddress] {
        let reach = Reach(host: host)
        let addresses = NetworkInterface.all().filter(\.isUp).flatMap { reach.addresses(of: $0) }
            .filter { !($0.isIPv6 && $0.isLinkLocal) }
        let ordered = addresses.filter { !$0.isLoopback } + addresses.filter(\.isLoopback)
        return ordered.map { NetworkAddress(host: $0.description, port: port) }
    }
}
