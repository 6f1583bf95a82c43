import Core

/// Where an upstream listens, and what stands before each of its paths.
struct HTTPTarget: Hashable, Sendable {
    enum Address: Hashable, Sendable {
        case socket(path: String)
        case network(host: String, port: Int, isSecure: Bool)
    }

    var address: Address
    /// What stands in `Host`.
    var authority: String
    /// Empty, or with a slash before it and none behind: `/v1`.
    var prefix: String

    init(socket path: String) {
        address = .socket(path: path)
        authority = "localhost"
        prefix = ""
    }

    /// `http://HOST[:PORT][/PATH]` or `https://…`; an IPv6 address in brackets.
    ///
    /// - Throws: ``RuntimeError`` `.configuration` that says what is wrong.
    init(url: String) throws(RuntimeError) {
        let isSecure = url.hasPrefix("https://")
        guard isSecure || url.hasPrefix("http://") else {
            throw RuntimeError(.configuration, "an upstream's url begins with http:// or https://")
        }
        let rest = url.dropFirst(isSecure ? 8 : 7)
        let authority = rest.prefix { $0 != "/" }
        let path = rest.dropFirst(authority.count)
        let isPlain = url.utf8.allSatisfy { (0x21...0x7E).contains($0) }
        guard isPlain, !path.contains("?"), !path.contains("#") else {
            throw RuntimeError(.configuration, "an upstream's url holds no space, query or fragment")
        }
        guard !authority.contains("@") else {
            throw RuntimeError(.configuration, "an upstream's url holds no user or password; set api_key instead")
        }
        var host = authority
        var port = isSecure ? 443 : 80
        if let colon = authority.lastIndex(of: ":"), !authority[colon...].contains("]") {
            guard let number = Int(authority[authority.index(after: colon)...]), (1...65_535).contains(number) else {
                throw RuntimeError(.configuration, "the port of an upstream's url is no number from 1 to 65535")
            }
            host = authority[..<colon]
            port = number
        }
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        guard !host.isEmpty else { throw RuntimeError(.configuration, "an upstream's url names no host") }
        address = .network(host: String(host), port: port, isSecure: isSecure)
        self.authority = String(authority)
        prefix = String(path.reversed().drop { $0 == "/" }.reversed())
    }
}
