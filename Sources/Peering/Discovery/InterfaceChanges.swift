import Glibc

/// The kernel's news of interfaces and addresses (rtnetlink): something to read means that something changed.
final class InterfaceChanges: Sendable {
    let descriptor: Int32

    /// Nil where the system does not offer it; whoever listens looks every few seconds anyway.
    init?() {
        descriptor = socket(AF_NETLINK, Int32(SOCK_RAW.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        // struct sockaddr_nl: family, padding, port (0: the kernel chooses), groups.
        let groups = Self.link | Self.ipv4Addresses | Self.ipv6Addresses
        var address: (UInt16, UInt16, UInt32, UInt32) = (UInt16(AF_NETLINK), 0, 0, groups)
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, 12) }
        }
        guard bound == 0 else { return nil }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// Reads all that waits. What it says is not needed: the interfaces are listed anew.
    func drain() {
        var buffer = [UInt8](repeating: 0, count: 16 * 1024)
        while recv(descriptor, &buffer, buffer.count, 0) > 0 {}
    }

    // RTMGRP_LINK, RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR of linux/rtnetlink.h.
    private static let link: UInt32 = 0x1
    private static let ipv4Addresses: UInt32 = 0x10
    private static let ipv6Addresses: UInt32 = 0x100
}
