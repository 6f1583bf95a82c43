internal import Core

/// Fields that several messages of the swarm have. What comes in is bounded and printable: it ends in terminals.
extension ByteWriter {
    mutating func put(text: String, atMost limit: Int) {
        put(lengthPrefixed: text.printable(atMost: limit).utf8)
    }

    mutating func put(_ address: NetworkAddress) {
        put(text: address.host, atMost: NetworkAddress.hostBytes)
        put(varint: UInt64(clamping: address.port))
    }

    mutating func put(_ addresses: [NetworkAddress]) {
        let told = addresses.prefix(Limits.memberAddresses)
        put(varint: UInt64(told.count))
        for address in told { put(address) }
    }
}

extension ByteReader {
    mutating func text(atMost limit: Int) throws(RuntimeError) -> String {
        String(decoding: try lengthPrefixed(atMost: limit), as: UTF8.self).printable(atMost: limit)
    }

    mutating func address() throws(RuntimeError) -> NetworkAddress {
        let host = try text(atMost: NetworkAddress.hostBytes)
        let port = try varint()
        guard !host.isEmpty, (1...65_535).contains(port), !host.contains(where: { $0 == " " || $0 == "/" }) else {
            throw RuntimeError(.corrupt, "an address of a peer is none")
        }
        return NetworkAddress(host: host, port: Int(port))
    }

    mutating func addresses() throws(RuntimeError) -> [NetworkAddress] {
        var addresses: [NetworkAddress] = []
        for _ in 0..<(try count(atMost: Limits.memberAddresses)) { addresses.append(try address()) }
        return addresses
    }

    mutating func count(atMost limit: Int) throws(RuntimeError) -> Int {
        let count = try varint()
        guard count <= UInt64(limit) else {
            throw RuntimeError(.corrupt, "a list of \(count) items is longer than the \(limit) allowed")
        }
        return Int(count)
    }
}

extension NetworkAddress {
    static let hostBytes = 255
}

extension String {
    /// Without control characters and what turns the direction of writing, and not longer than `limit` bytes.
    fileprivate func printable(atMost limit: Int) -> String {
        var kept = String.UnicodeScalarView()
        var bytes = 0
        for scalar in unicodeScalars {
            switch scalar.value {
            case 0..<0x20, 0x7F..<0xA0, 0x200E, 0x200F, 0x2028...0x202E, 0x2066...0x2069: continue
            default: break
            }
            bytes += UTF8.width(scalar)
            if bytes > limit { break }
            kept.append(scalar)
        }
        return String(kept)
    }
}
