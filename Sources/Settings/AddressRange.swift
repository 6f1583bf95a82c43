import Glibc

/// A block of IP addresses in CIDR notation; a single address is a block of one.
struct AddressRange: Hashable, Sendable, CustomStringConvertible {
    /// 4 or 16 bytes, network order; bits beyond the prefix are zero.
    let address: [UInt8]
    let prefixLength: Int

    init(address: [UInt8], prefixLength: Int) {
        self.prefixLength = min(max(prefixLength, 0), address.count * 8)
        self.address = Self.masked(address, to: self.prefixLength)
    }

    /// `10.0.0.0/8`, `fd00::/8`, `192.168.1.7`. Nil for anything else.
    init?(_ text: String) {
        guard let parsed = Self.parse(text) else { return nil }
        self.init(address: parsed.address, prefixLength: parsed.prefixLength)
    }

    /// An address alone, of either family.
    static func isAddress(_ text: String) -> Bool { !text.contains("/") && parse(text) != nil }

    /// True where `text` sets bits beyond its prefix, as in `10.1.2.3/8`: is the network meant, or the host?
    static func hasHostBits(_ text: String) -> Bool {
        guard let (address, prefixLength) = parse(text) else { return false }
        return masked(address, to: prefixLength) != address
    }

    /// `10.0.0.0/8`
    var description: String {
        var storage = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        let family = address.count == 4 ? AF_INET : AF_INET6
        guard inet_ntop(family, address, &storage, socklen_t(storage.count)) != nil else { return "?" }
        let text = String(decoding: storage.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        return "\(text)/\(prefixLength)"
    }

    private static let mappedPrefix = [UInt8](repeating: 0, count: 10) + [0xFF, 0xFF]

    private static func parse(_ text: String) -> (address: [UInt8], prefixLength: Int)? {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        // inet_pton stops at a NUL: nothing may hide behind one.
        guard let first = parts.first, first.utf8.count < Int(INET6_ADDRSTRLEN), !first.utf8.contains(0) else {
            return nil
        }
        let isIPv6 = first.contains(":")
        var address = [UInt8](repeating: 0, count: isIPv6 ? 16 : 4)
        guard inet_pton(isIPv6 ? AF_INET6 : AF_INET, String(first), &address) == 1 else { return nil }
        // ::ffff:10.0.0.1 is an IPv4 address in disguise: whoever compares by family would never see it match.
        guard !isIPv6 || !address.starts(with: mappedPrefix) else { return nil }
        guard parts.count == 2, let second = parts.last else { return (address, address.count * 8) }
        guard (1...3).contains(second.utf8.count), second.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            let length = Int(second), length <= address.count * 8
        else { return nil }
        return (address, length)
    }

    private static func masked(_ address: [UInt8], to prefixLength: Int) -> [UInt8] {
        address.enumerated().map { index, byte in
            let kept = min(max(prefixLength - index * 8, 0), 8)
            return kept == 8 ? byte : byte & ~(0xFF >> kept)
        }
    }
}
