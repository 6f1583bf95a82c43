/// Where a host is reached: a host name or an IP address (an IPv6 one without brackets, with its zone where it is
/// link-local), and a TCP port.
package struct NetworkAddress: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let host: String
    package let port: Int

    package init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// `host`, `host:port`, `[v6]`, `[v6]:port` or a bare IPv6 address. Nil for anything else.
    package init?(_ text: String, defaultPort: Int) {
        var host = text
        var port = defaultPort
        if text.hasPrefix("[") {
            guard let end = text.firstIndex(of: "]") else { return nil }
            host = String(text[text.index(after: text.startIndex)..<end])
            let rest = text[text.index(after: end)...]
            if !rest.isEmpty {
                guard rest.hasPrefix(":"), let number = Self.port(rest.dropFirst()) else { return nil }
                port = number
            }
        } else if text.filter({ $0 == ":" }).count == 1, let colon = text.firstIndex(of: ":") {
            guard let number = Self.port(text[text.index(after: colon)...]) else { return nil }
            host = String(text[..<colon])
            port = number
        }
        guard !host.isEmpty, (1...65_535).contains(port),
            !host.contains(where: { $0.isWhitespace || $0 == "/" || $0 == "[" || $0 == "]" })
        else { return nil }
        self.init(host: host, port: port)
    }

    /// Digits only: `Int` would take a sign.
    private static func port(_ text: Substring) -> Int? {
        text.utf8.allSatisfy { (0x30...0x39).contains($0) } ? Int(text) : nil
    }

    package var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
    package static func < (left: NetworkAddress, right: NetworkAddress) -> Bool {
        (left.host, left.port) < (right.host, right.port)
    }
}
