import Glibc

/// One interface of this machine, as discovery and the doctor look at it.
struct NetworkInterface: Hashable, Sendable {
    struct Address: Hashable, Sendable {
        var address: ScopedAddress
        var prefixLength: Int
    }

    var name: String
    var index: UInt32
    var isUp: Bool
    /// A cable is plugged in, an access point is joined.
    var isRunning: Bool
    var isLoopback: Bool
    var hasMulticast: Bool
    var isPointToPoint: Bool
    /// Sorted, IPv4 first.
    var addresses: [Address]

    var ipv4: ScopedAddress? { addresses.first { !$0.address.isIPv6 }?.address }
    var linkLocal: ScopedAddress? { addresses.first { $0.address.isIPv6 && $0.address.isLinkLocal }?.address }

    /// Group traffic can be sent and heard there. Loopback lacks the flag and carries it all the same.
    var carriesMulticast: Bool { isUp && (hasMulticast || isLoopback) && !addresses.isEmpty }

    /// All of this machine, in the order of their indexes.
    static func all() -> [NetworkInterface] {
        var list: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&list) == 0 else { return [] }
        defer { freeifaddrs(list) }
        var found: [String: NetworkInterface] = [:]
        for entry in sequence(first: list, next: { $0?.pointee.ifa_next }) {
            guard let entry = entry?.pointee, let name = entry.ifa_name.map({ String(cString: $0) }) else { continue }
            let flags = Int32(bitPattern: entry.ifa_flags)
            var interface =
                found[name]
                ?? NetworkInterface(
                    name: name, index: if_nametoindex(name), isUp: flags & Int32(IFF_UP) != 0,
                    isRunning: flags & Int32(IFF_RUNNING) != 0, isLoopback: flags & Int32(IFF_LOOPBACK) != 0,
                    hasMulticast: flags & Int32(IFF_MULTICAST) != 0,
                    isPointToPoint: flags & Int32(IFF_POINTOPOINT) != 0, addresses: [])
            if let pointer = entry.ifa_addr, let address = SocketAddress(pointer)?.address {
                let mask = entry.ifa_netmask.flatMap { SocketAddress($0)?.address }
                let length = mask?.bytes.reduce(0) { $0 + $1.nonzeroBitCount } ?? address.bytes.count * 8
                interface.addresses.append(Address(address: address, prefixLength: length))
            }
            found[name] = interface
        }
        return found.values.map { interface in
            var interface = interface
            interface.addresses.sort { $0.address < $1.address }
            return interface
        }.sorted { ($0.index, $0.name) < ($1.index, $1.name) }
    }

    static func name(of index: UInt32) -> String? {
        var name = [CChar](repeating: 0, count: Int(IF_NAMESIZE))
        guard if_indextoname(index, &name) != nil else { return nil }
        return String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
}
