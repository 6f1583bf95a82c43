import Glibc

/// An Internet address of either family; an IPv4 address and its IPv6-mapped form are the same value.
package struct IPAddress: Hashable, Sendable, CustomStringConvertible {
    /// Sixteen bytes; IPv4 as ::ffff:a.b.c.d.
    let bytes: [UInt8]

    /// A textual address without brackets; a zone (`%eth0`) is ignored. Nil for anything else, names included.
    package init?(_ text: String) {
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

    private static let mappedPrefix: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]
}

/// A block of addresses in CIDR notation, or a single one.
package struct AddressRange: Hashable, Sendable {
    private let base: IPAddress
    /// Of the 128 bits of the mapped form.
    private let prefixBits: Int

    /// `10.0.0.0/8`, `fd00::/8` or a plain address. Nil for anything else.
    package init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = parts.first, let base = IPAddress(String(first)) else { return nil }
        let width = base.isVersion4 ? 32 : 128
        var bits = width
        if parts.count == 2 {
            guard let last = parts.last, last.allSatisfy(\.isWholeNumber), let given = Int(last), given <= width else {
                return nil
            }
            bits = given
        }
        self.base = base
        prefixBits = 128 - width + bits
    }

    package func contains(_ address: IPAddress) -> Bool {
        guard base.isVersion4 == address.isVersion4 else { return false }
        var rest = prefixBits
        for (left, right) in zip(base.bytes, address.bytes) {
            guard rest > 0 else { return true }
            let mask: UInt8 = rest >= 8 ? 0xFF : ~(0xFF >> UInt8(rest))
            guard left & mask == right & mask else { return false }
            rest -= 8
        }
        return true
    }
}
