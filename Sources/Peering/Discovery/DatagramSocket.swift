import Glibc

/// A UDP socket of one family that never blocks. Closed with its last reference: whoever watches its descriptor keeps
/// the socket until the watching has ended.
final class DatagramSocket: Sendable {
    enum Family: Sendable, CaseIterable {
        case ipv4
        case ipv6
    }

    /// A call that the system refused.
    struct Failure: Error, CustomStringConvertible {
        let call: String
        let code: Int32
        var description: String { "\(call): \(String(cString: strerror(code)))" }
    }

    let descriptor: Int32
    let family: Family

    private init(_ family: Family) throws(Failure) {
        let kind = Int32(SOCK_DGRAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        descriptor = socket(family == .ipv4 ? AF_INET : AF_INET6, kind, 0)
        self.family = family
        guard descriptor >= 0 else { throw Failure(call: "socket", code: errno) }
        if family == .ipv6 { try set(Int32(IPPROTO_IPV6), IPV6_V6ONLY, Int32(1)) }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// Hears what is sent to `group`, beside the other programs on this machine that do, once it has joined somewhere.
    static func listening(to group: SocketAddress) throws(Failure) -> DatagramSocket {
        let family: Family = group.address.isIPv6 ? .ipv6 : .ipv4
        let socket = try DatagramSocket(family)
        // Each of the programs gets every datagram of the group; both options, since a neighbour may have set either.
        try socket.set(SOL_SOCKET, SO_REUSEADDR, Int32(1))
        try socket.set(SOL_SOCKET, SO_REUSEPORT, Int32(1))
        // Only from interfaces that this socket itself has joined on.
        switch family {
        case .ipv4: try socket.set(Int32(IPPROTO_IP), multicastAll, Int32(0))
        // Linux 4.20 and later; without it the group is heard on a few interfaces more.
        case .ipv6: try? socket.set(Int32(IPPROTO_IPV6), multicastAllIPv6, Int32(0))
        }
        let address: SocketAddress =
            switch family {
            case .ipv4: group
            case .ipv6: SocketAddress(group.address.unspecified, port: group.port)
            }
        try socket.bind(to: address)
        return socket
    }

    /// Sends from a port of its own, and hears what is sent there.
    static func sending(_ family: Family) throws(Failure) -> DatagramSocket {
        let socket = try DatagramSocket(family)
        try socket.bind(
            to: SocketAddress(family == .ipv4 ? ScopedAddress.unspecifiedIPv4 : ScopedAddress.unspecifiedIPv6, port: 0))
        // Other instances on this machine are to hear it as well; that is the default, but a system may differ.
        switch family {
        case .ipv4: try socket.set(Int32(IPPROTO_IP), IP_MULTICAST_LOOP, Int32(1))
        case .ipv6: try socket.set(Int32(IPPROTO_IPV6), IPV6_MULTICAST_LOOP, Int32(1))
        }
        return socket
    }

    func join(_ group: ScopedAddress, on interface: NetworkInterface) throws(Failure) {
        try membership(of: group, on: interface, IP_ADD_MEMBERSHIP, IPV6_JOIN_GROUP)
    }

    func leave(_ group: ScopedAddress, on interface: NetworkInterface) throws(Failure) {
        try membership(of: group, on: interface, IP_DROP_MEMBERSHIP, IPV6_LEAVE_GROUP)
    }

    /// Group datagrams leave by `interface` from now on, and over IPv4 from `address`.
    func sendGroups(by interface: NetworkInterface, from address: ScopedAddress?) throws(Failure) {
        switch family {
        case .ipv4:
            var request = ip_mreqn()
            request.imr_ifindex = Int32(truncatingIfNeeded: interface.index)
            if let address { withUnsafeMutableBytes(of: &request.imr_address) { $0.copyBytes(from: address.bytes) } }
            try set(Int32(IPPROTO_IP), IP_MULTICAST_IF, request)
        case .ipv6:
            try set(Int32(IPPROTO_IPV6), IPV6_MULTICAST_IF, Int32(truncatingIfNeeded: interface.index))
        }
    }

    func send(_ datagram: [UInt8], to target: SocketAddress) throws(Failure) {
        let sent = target.withSystem { sendto(descriptor, datagram, datagram.count, 0, $0, $1) }
        guard sent == datagram.count else { throw Failure(call: "sendto", code: errno) }
    }

    /// The next datagram, at most `limit` bytes of it; nil when none waits.
    func receive(atMost limit: Int) -> (bytes: [UInt8], source: SocketAddress)? {
        var buffer = [UInt8](repeating: 0, count: limit)
        var source = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        while true {
            let count = withUnsafeMutablePointer(to: &source) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    recvfrom(descriptor, &buffer, limit, 0, $0, &length)
                }
            }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { return nil }
            let sender = withUnsafePointer(to: source) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { SocketAddress($0) }
            }
            guard let sender else { continue }
            return (Array(buffer.prefix(count)), sender)
        }
    }

    /// The port it is bound to.
    var port: Int? {
        var form = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        return withUnsafeMutablePointer(to: &form) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                getsockname(descriptor, $0, &length) == 0 ? SocketAddress($0)?.port : nil
            }
        }
    }

    private func bind(to address: SocketAddress) throws(Failure) {
        let code = address.withSystem { Glibc.bind(descriptor, $0, $1) }
        guard code == 0 else { throw Failure(call: "bind to \(address.address) port \(address.port)", code: errno) }
    }

    private func membership(
        of group: ScopedAddress, on interface: NetworkInterface, _ ipv4: Int32, _ ipv6: Int32
    ) throws(Failure) {
        switch family {
        case .ipv4:
            var request = ip_mreqn()
            request.imr_ifindex = Int32(truncatingIfNeeded: interface.index)
            withUnsafeMutableBytes(of: &request.imr_multiaddr) { $0.copyBytes(from: group.bytes) }
            try set(Int32(IPPROTO_IP), ipv4, request)
        case .ipv6:
            var request = ipv6_mreq()
            request.ipv6mr_interface = interface.index
            withUnsafeMutableBytes(of: &request.ipv6mr_multiaddr) { $0.copyBytes(from: group.bytes) }
            try set(Int32(IPPROTO_IPV6), ipv6, request)
        }
    }

    private func set<Value>(_ level: Int32, _ option: Int32, _ value: Value) throws(Failure) {
        let code = withUnsafeBytes(of: value) {
            setsockopt(descriptor, level, option, $0.baseAddress, socklen_t($0.count))
        }
        guard code == 0 else { throw Failure(call: "setsockopt \(option)", code: errno) }
    }

    // Of linux/in.h and linux/in6.h, which Swift's Glibc does not carry.
    private static let multicastAll: Int32 = 49
    private static let multicastAllIPv6: Int32 = 29
}

extension ScopedAddress {
    static let loopback = ScopedAddress(known: [127, 0, 0, 1])
    static let unspecifiedIPv4 = ScopedAddress(known: [UInt8](repeating: 0, count: 4))
    static let unspecifiedIPv6 = ScopedAddress(known: [UInt8](repeating: 0, count: 16))
    var unspecified: ScopedAddress { isIPv6 ? .unspecifiedIPv6 : .unspecifiedIPv4 }
}
