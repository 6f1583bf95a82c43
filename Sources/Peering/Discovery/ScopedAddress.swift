import Core
import Glibc

/// An IPv4 or IPv6 address as sockets take it: with its zone, the interface, where it is a link-local one (RFC 4007).
struct ScopedAddress: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// 4 or 16, network order.
    let bytes: [UInt8]
    /// The name of the interface; only with a link-local IPv6 address.
    let zone: String?

    init?(bytes: some Collection<UInt8>, zone: String? = nil) {
        guard bytes.count == 4 || bytes.count == 16 else { return nil }
        self.bytes = Array(bytes)
        self.zone = bytes.count == 16 && Self.isLinkLocal(self.bytes) ? zone : nil
    }

    /// One of our own constants, 4 or 16 bytes.
    init(known bytes: [UInt8]) {
        precondition(bytes.count == 4 || bytes.count == 16)
        self.bytes = bytes
        zone = nil
    }

    /// `192.168.1.7`, `fd00::1`, `fe80::1%eth0`. Nil for anything else, host names included.
    init?(_ text: String) {
        let parts = text.split(separator: "%", maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = parts.first, first.utf8.count < Int(INET6_ADDRSTRLEN), !first.utf8.contains(0) else {
            return nil
        }
        var bytes = [UInt8](repeating: 0, count: first.contains(":") ? 16 : 4)
        guard inet_pton(bytes.count == 16 ? AF_INET6 : AF_INET, String(first), &bytes) == 1 else { return nil }
        self.init(bytes: bytes, zone: parts.count == 2 ? parts.last.map(String.init) : nil)
    }

    var isIPv6: Bool { bytes.count == 16 }
    var isLinkLocal: Bool { Self.isLinkLocal(bytes) }
    var isUnspecified: Bool { bytes.allSatisfy { $0 == 0 } }
    var isLoopback: Bool { isIPv6 ? bytes.dropLast().allSatisfy { $0 == 0 } && bytes.last == 1 : bytes.first == 127 }

    /// Loopback, link-local or of a range that is not routed on the Internet (RFC 1918, RFC 4193; RFC 6598 too).
    var isPrivate: Bool {
        if isLoopback || isLinkLocal { return true }
        if isIPv6 { return bytes[0] & 0xFE == 0xFC }
        return switch (bytes[0], bytes[1]) {
        case (10, _), (172, 16...31), (192, 168), (100, 64...127): true
        default: false
        }
    }

    var description: String {
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        guard inet_ntop(isIPv6 ? AF_INET6 : AF_INET, bytes, &text, socklen_t(text.count)) != nil else { return "?" }
        let address = String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        return zone.map { "\(address)%\($0)" } ?? address
    }

    func shares(_ prefixLength: Int, with other: ScopedAddress) -> Bool {
        guard bytes.count == other.bytes.count else { return false }
        var left = max(0, min(prefixLength, bytes.count * 8))
        for (mine, its) in zip(bytes, other.bytes) where left > 0 {
            let mask: UInt8 = left >= 8 ? 0xFF : ~(0xFF >> UInt8(left))
            guard mine & mask == its & mask else { return false }
            left -= 8
        }
        return true
    }

    /// IPv4 first, then in the order of the bytes.
    static func < (left: ScopedAddress, right: ScopedAddress) -> Bool {
        if left.bytes.count != right.bytes.count { return left.bytes.count < right.bytes.count }
        return left.bytes.lexicographicallyPrecedes(right.bytes)
    }

    private static func isLinkLocal(_ bytes: [UInt8]) -> Bool {
        bytes.count == 16
            ? bytes[0] == 0xFE && bytes[1] & 0xC0 == 0x80 : bytes[0] == 169 && bytes[1] == 254
    }
}

/// An address and a port as the socket calls want it: `sockaddr_in` or `sockaddr_in6`.
struct SocketAddress: Hashable, Sendable {
    let address: ScopedAddress
    let port: Int

    init(_ address: ScopedAddress, port: Int) {
        self.address = address
        self.port = port
    }

    /// Hands the system's form to `body`.
    func withSystem<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        let port = in_port_t(UInt16(truncatingIfNeeded: port).bigEndian)
        if address.isIPv6 {
            var form = sockaddr_in6()
            form.sin6_family = sa_family_t(AF_INET6)
            form.sin6_port = port
            form.sin6_scope_id = address.zone.map { if_nametoindex($0) } ?? 0
            withUnsafeMutableBytes(of: &form.sin6_addr) { $0.copyBytes(from: address.bytes) }
            return withUnsafePointer(to: form) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    body($0, socklen_t(MemoryLayout<sockaddr_in6>.size))
                }
            }
        }
        var form = sockaddr_in()
        form.sin_family = sa_family_t(AF_INET)
        form.sin_port = port
        withUnsafeMutableBytes(of: &form.sin_addr) { $0.copyBytes(from: address.bytes) }
        return withUnsafePointer(to: form) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }

    /// From what the system wrote; nil for other families.
    init?(_ system: UnsafePointer<sockaddr>) {
        switch Int32(system.pointee.sa_family) {
        case AF_INET:
            let form = UnsafeRawPointer(system).loadUnaligned(as: sockaddr_in.self)
            guard let address = withUnsafeBytes(of: form.sin_addr, { ScopedAddress(bytes: $0) }) else { return nil }
            self.init(address, port: Int(UInt16(bigEndian: form.sin_port)))
        case AF_INET6:
            let form = UnsafeRawPointer(system).loadUnaligned(as: sockaddr_in6.self)
            let zone = form.sin6_scope_id == 0 ? nil : NetworkInterface.name(of: form.sin6_scope_id)
            guard let address = withUnsafeBytes(of: form.sin6_addr, { ScopedAddress(bytes: $0, zone: zone) }) else {
                return nil
            }
            self.init(address, port: Int(UInt16(bigEndian: form.sin6_port)))
        default: return nil
        }
    }
}
