import Glibc

/// An Internet address of either family; an IPv4 address and its IPv6-mapped form are the same value.
package struct IPAddress: Hashable, Sendable, CustomStringConvertible {
    /// Sixteen bytes; IPv4 as ::ffff:a.b.c.d.
    package let bytes: [UInt8]

    /// A textual address without brackets; a zone (`%eth0`) is ignored. Nil for anything else, names included.
    package init?(_ text: String) {
        // inet_pton stops at a NUL: nothing may hide behind one.
        guard text.utf8.count <= Self.longest, !text.utf8.contains(0) else { return nil }
        let bare = String(text.prefix { $0 != "%" })
        var four = in_addr()
        var six = in6_addr()
        if inet_pton(AF_INET, bare, &four) == 1 {
            bytes = Self.mappedPrefix + withUnsafeBytes(of: &four) { Array($0) }
        } else if inet_pton(AF_INET6, bare, &six) == 1 {
            bytes = withUnsafeBytes(of: &six) { Array($0) }
        } else {
            return nil
        }
    }

    /// `bytes` are sixteen.
    init(bytes: [UInt8]) { self.bytes = bytes }

    package var isVersion4: Bool { bytes.starts(with: Self.mappedPrefix) }

    /// 127.0.0.0/8 and ::1.
    package var isLoopback: Bool {
        if isVersion4 { return bytes.dropFirst(12).first == 127 }
        return bytes.last == 1 && bytes.dropLast().allSatisfy { $0 == 0 }
    }

    /// 0.0.0.0 and ::, which as a destination mean this host.
    package var isUnspecified: Bool {
        bytes.dropFirst(isVersion4 ? 12 : 0).allSatisfy { $0 == 0 }
    }

    package var description: String {
        if isVersion4 { return bytes.dropFirst(12).map { "\($0)" }.joined(separator: ".") }
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        guard inet_ntop(AF_INET6, bytes, &text, socklen_t(text.count)) != nil else { return "?" }
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// An IPv6 address with an IPv4 tail, and a zone.
    private static let longest = 128
    private static let mappedPrefix: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]
}
