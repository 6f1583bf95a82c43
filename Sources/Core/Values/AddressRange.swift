/// A block of Internet addresses in CIDR notation; a single address is a block of one.
package struct AddressRange: Hashable, Sendable, CustomStringConvertible {
    /// Bits beyond the prefix are zero.
    private let base: IPAddress
    /// Of the 128 bits of the mapped form.
    private let prefixBits: Int

    /// `10.0.0.0/8`, `fd00::/8`, `192.168.1.7`. Nil for anything else, and for IPv4 mapped into IPv6, which would be
    /// the same block in two notations.
    package init?(_ text: String) {
        guard let parsed = Self.parse(text) else { return nil }
        base = parsed.address.masked(to: parsed.prefixBits)
        prefixBits = parsed.prefixBits
    }

    /// An address alone, of either family.
    package static func isAddress(_ text: String) -> Bool { !text.contains("/") && parse(text) != nil }

    /// True where `text` sets bits beyond its prefix, as in `10.1.2.3/8`: is the network meant, or the host?
    package static func hasHostBits(_ text: String) -> Bool {
        guard let (address, prefixBits) = parse(text) else { return false }
        return address.masked(to: prefixBits) != address
    }

    package func contains(_ address: IPAddress) -> Bool {
        base.isVersion4 == address.isVersion4 && address.masked(to: prefixBits) == base
    }

    /// `10.0.0.0/8`
    package var description: String { "\(base)/\(base.isVersion4 ? prefixBits - 96 : prefixBits)" }

    private static func parse(_ text: String) -> (address: IPAddress, prefixBits: Int)? {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = parts.first, !first.contains("%"), let address = IPAddress(String(first)),
            address.isVersion4 != first.contains(":")
        else { return nil }
        let width = address.isVersion4 ? 32 : 128
        guard parts.count == 2, let second = parts.last else { return (address, 128) }
        guard (1...3).contains(second.utf8.count), second.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            let length = Int(second), length <= width
        else { return nil }
        return (address, 128 - width + length)
    }
}

extension IPAddress {
    fileprivate func masked(to prefixBits: Int) -> IPAddress {
        IPAddress(
            bytes: bytes.enumerated().map { index, byte in
                let kept = min(max(prefixBits - index * 8, 0), 8)
                return kept == 8 ? byte : byte & ~(0xFF >> UInt8(kept))
            })
    }
}
