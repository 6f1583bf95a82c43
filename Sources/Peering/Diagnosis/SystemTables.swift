import Core

/// Readers of the kernel's text tables (`/proc/net/…`): pure, from the text.
enum SystemTables {
    /// Listening sockets of `/proc/net/tcp` and `/proc/net/tcp6`.
    static func listeners(_ table: String) -> [ListeningPort] {
        sockets(table).filter { $0.state == "0A" }.map { ListeningPort(address: $0.address, port: $0.port) }
    }

    /// The inodes of the sockets of `/proc/net/udp` or `udp6` at `port`.
    static func inodes(_ table: String, port: Int) -> [String] {
        sockets(table).filter { $0.port == port }.map(\.inode)
    }

    /// The user whose process holds the near end of an open connection from 127.0.0.1 to 127.0.0.1, of `/proc/net/tcp`.
    static func owner(_ table: String, ofConnectionFrom near: Int, to far: Int) -> Int? {
        for line in table.split(separator: "\n").dropFirst() {
            let fields = line.split(separator: " ")
            guard fields.count > 7, fields[3] == "01", port(ofLoopback: fields[1]) == near,
                port(ofLoopback: fields[2]) == far
            else { continue }
            return Int(fields[7])
        }
        return nil
    }

    private static func port(ofLoopback address: Substring) -> Int? {
        address.hasPrefix("0100007F:") ? Int(address.dropFirst(9), radix: 16) : nil
    }

    private static func sockets(
        _ table: String
    ) -> [(address: ScopedAddress, port: Int, state: Substring, inode: String)] {
        table.split(separator: "\n").dropFirst().compactMap { line in
            let fields = line.split(separator: " ")
            guard fields.count > 9 else { return nil }
            let local = fields[1].split(separator: ":")
            guard local.count == 2, let address = address(local[0]), let port = Int(local[1], radix: 16) else {
                return nil
            }
            return (address, port, fields[3], String(fields[9]))
        }
    }

    /// Groups of four bytes, each as the machine's number: on all machines this runs on, backwards.
    private static func address(_ hex: Substring) -> ScopedAddress? {
        guard let bytes = [UInt8](hex: hex), bytes.count == 4 || bytes.count == 16 else { return nil }
        var turned: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: 4) { turned += bytes[start..<start + 4].reversed() }
        return ScopedAddress(bytes: turned)
    }

    /// The interfaces on which someone has joined `group`, of `/proc/net/igmp`.
    static func members(of group: ScopedAddress, _ table: String) -> [String] {
        let wanted = group.bytes.reversed().hex.uppercased()
        var interface = ""
        var found: [String] = []
        for line in table.split(separator: "\n").dropFirst() {
            let fields = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
            if !line.hasPrefix("\t"), fields.count > 1 {
                interface = fields[1].hasSuffix(":") ? String(fields[1].dropLast()) : String(fields[1])
            } else if fields.first?.uppercased() == wanted {
                found.append(interface)
            }
        }
        return found
    }

    /// The interfaces whose routes in `/proc/net/route` cover `address`.
    static func routes(to address: ScopedAddress, _ table: String) -> [String] {
        guard let target = number(address.bytes) else { return [] }
        var found: [String] = []
        for line in table.split(separator: "\n").dropFirst() {
            let fields = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
            guard fields.count > 7, let destination = UInt32(fields[1], radix: 16)?.byteSwapped,
                let flags = UInt32(fields[3], radix: 16), let mask = UInt32(fields[7], radix: 16)?.byteSwapped
            else { continue }
            // RTF_UP, and not RTF_REJECT.
            guard flags & 0x1 != 0, flags & 0x200 == 0, target & mask == destination else { continue }
            if !found.contains(String(fields[0])) { found.append(String(fields[0])) }
        }
        return found
    }

    private static func number(_ bytes: [UInt8]) -> UInt32? {
        bytes.count == 4 ? bytes.reduce(0) { $0 << 8 | UInt32($1) } : nil
    }
}
