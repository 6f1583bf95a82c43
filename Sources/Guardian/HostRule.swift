package import Core

/// The names and addresses by which this machine may be called.
package struct MachineNames: Sendable {
    package var addresses: Set<IPAddress>
    /// Host names, in any case.
    package var names: Set<String>

    package init(addresses: Set<IPAddress>, names: Set<String>) {
        self.addresses = addresses
        self.names = Set(names.map { $0.lowercased() })
    }
}

/// Keeps web pages of strangers from driving this host through a visitor's browser (wire.md §5.6).
///
/// A page whose domain was made to resolve to our address still sends its own domain as `Host`, and a page that calls
/// us openly sends itself as `Origin`. So both are compared with names known beforehand; nothing is ever resolved.
package struct HostRule: Sendable {
    private let allowed: Set<String>

    /// - Parameter allowedHosts: `server.allowed_hosts`: more names under which this host is reached (a reverse proxy,
    ///   a DNS name), or under which pages live that may call it.
    package init(allowedHosts: [String] = []) {
        allowed = Set(allowedHosts.compactMap { Authority($0)?.host })
    }

    /// - Parameters:
    ///   - host: the `Host` header as it was sent.
    ///   - origin: the `Origin` header as it was sent.
    ///   - machine: what this machine is called at present.
    /// - Throws: ``RuntimeError`` `.invalidRequest` without a usable Host, `.forbidden` for a strange one.
    package func check(host: String?, origin: String?, machine: MachineNames) throws(RuntimeError) {
        guard let host, let target = Authority(host) else {
            throw RuntimeError(.invalidRequest, "the request needs one Host header with the name of this host")
        }
        guard target.isThisComputer || allowed.contains(target.host) || isOurs(target, machine) else {
            throw RuntimeError(
                .forbidden,
                "this host is not known by the name in the Host header; use its address, or add the name to "
                    + "server.allowed_hosts in its configuration")
        }
        guard let origin else { return }
        guard let source = Authority(origin: origin),
            source.host == target.host || (source.isThisComputer && target.isThisComputer)
                || allowed.contains(source.host)
        else {
            throw RuntimeError(
                .forbidden,
                "a web page of another origin may not use this host; add the page's host name to "
                    + "server.allowed_hosts in the configuration to let it")
        }
    }

    private func isOurs(_ target: Authority, _ machine: MachineNames) -> Bool {
        if let address = target.address { return machine.addresses.contains(address) }
        return machine.names.contains(target.host)
    }
}

/// Host and port as in a Host header or an origin.
struct Authority: Hashable {
    /// Lower case, without brackets, zone or final dot.
    let host: String
    let port: UInt16?
    let address: IPAddress?

    /// `name`, `name:port`, `1.2.3.4:port`, `[::1]:port`. Nil for anything that could be read in two ways.
    init?(_ text: String) {
        var rest = Substring(text)
        let name: Substring
        if rest.hasPrefix("[") {
            guard let end = rest.firstIndex(of: "]") else { return nil }
            name = rest[rest.index(after: rest.startIndex)..<end]
            rest = rest[rest.index(after: end)...]
            guard let address = IPAddress(String(name)), !address.isVersion4 || name.contains(":") else { return nil }
            self.address = address
        } else {
            name = rest.prefix { $0 != ":" }
            rest = rest.dropFirst(name.count)
            address = IPAddress(String(name))
            guard !name.isEmpty, name.utf8.allSatisfy(Self.isNameByte) else { return nil }
        }
        if rest.isEmpty {
            port = nil
        } else {
            guard rest.hasPrefix(":"), rest.dropFirst().utf8.allSatisfy({ (0x30...0x39).contains($0) }),
                let number = UInt16(rest.dropFirst()), number > 0
            else { return nil }
            port = number
        }
        host = (name.hasSuffix(".") ? name.dropLast() : name).lowercased()
    }

    /// `http://authority` or `https://authority` and nothing behind it; `null` and other schemes are no origin here.
    init?(origin: String) {
        let lower = origin.lowercased()
        for scheme in ["http://", "https://"] where lower.hasPrefix(scheme) {
            self.init(String(lower.dropFirst(scheme.count)))
            return
        }
        return nil
    }

    /// A name or address that can only mean the machine on which it is used.
    var isThisComputer: Bool {
        if let address { return address.isLoopback || address.isUnspecified }
        return host == "localhost" || host.hasSuffix(".localhost")
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"):
            true
        default: false
        }
    }
}
