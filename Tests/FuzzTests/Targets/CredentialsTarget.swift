import Core
import HTTPTypes
import Logging

@testable import Gateway
@testable import Guardian
@testable import Store

/// What heads say of their sender and of where they want to go: lines, each to be read as everything that it may be.
enum CredentialsTarget {
    private static let rule = AccessRule(
        keys: ClientKeys([(name: "one", key: Secret("the-right-key-of-the-first"))]), network: .key)
    private static let hosts = HostRule(allowedHosts: ["proxy.example"])
    private static let machine = MachineNames(
        addresses: IPAddress("192.0.2.1").map { [$0] } ?? [], names: ["box", "box.local"])
    private static let right = "the-right-key-of-the-first"

    static func run(_ bytes: [UInt8]) throws(Broken) {
        let lines = bytes.parts(UInt8(ascii: "\n")).prefix(8).map { String(decoding: $0, as: UTF8.self) }
        for line in lines {
            try addresses(line)
            try caller(line, lines.last ?? "")
            try host(line, lines.last)
            try path(line)
            key(line)
            for length in [0, 1, 1_000] {
                guard case .part(let range) = ByteRange(line, length: length) else { continue }
                try hold(!range.isEmpty && range.lowerBound >= 0 && range.upperBound <= length, "a range outside")
            }
        }
    }

    private static func addresses(_ text: String) throws(Broken) {
        if let address = IPAddress(text) {
            try hold(IPAddress(address.description) == address, "an address reads otherwise: \(address)")
        }
        if let range = AddressRange(text) {
            try hold(AddressRange(range.description) == range, "a range reads otherwise: \(range)")
            let base = range.description.prefix { $0 != "/" }
            try hold(
                IPAddress(String(base)).map(range.contains) ?? false, "a range without its first address: \(range)")
        }
        if let address = NetworkAddress(text, defaultPort: 80) {
            try hold(
                NetworkAddress(address.description, defaultPort: 1) == address, "an address reads otherwise: \(address)"
            )
        }
        if let id = ConversationID(text) { try hold(ConversationID(id.rawValue) == id, "a conversation's id") }
        _ = Dot(digits: text[...])
    }

    private static func caller(_ first: String, _ second: String) throws(Broken) {
        let far = IPAddress("198.51.100.1")
        for caller in [
            AccessRule.Caller(address: far, authorization: first), AccessRule.Caller(address: far, apiKey: first),
            AccessRule.Caller(address: far, authorization: first, apiKey: second),
        ] where (try? rule.admit(caller, to: .chat)) != nil {
            try hold(
                [first, second].contains { $0.utf8.contains(right.utf8) }, "a wrong key is let in: \(first), \(second)")
        }
    }

    private static func host(_ host: String, _ origin: String?) throws(Broken) {
        guard (try? hosts.check(host: host, origin: nil, machine: machine)) != nil else { return }
        guard let authority = Authority(host) else { throw Broken("a host that is none is let in: \(host)") }
        let known = ["proxy.example", "box", "box.local", "localhost"]
        try hold(
            known.contains(authority.host) || authority.host.hasSuffix(".localhost") || authority.address != nil,
            "a strange host is let in: \(host)")
        try hold(
            authority.address.map { $0.isLoopback || $0.isUnspecified || machine.addresses.contains($0) } ?? true,
            "a strange address is let in: \(host)")
        guard let origin, (try? hosts.check(host: host, origin: origin, machine: machine)) != nil else { return }
        guard let source = Authority(origin: origin) else {
            throw Broken("an origin that is none is let in: \(origin)")
        }
        try hold(
            source.host == authority.host || source.host == "proxy.example"
                || source.isThisComputer && authority.isThisComputer, "a strange origin is let in: \(origin)")
    }

    private static func path(_ text: String) throws(Broken) {
        let path = text.prefix { $0 != "?" }
        _ = Dialect(path: path)
        if let route = Route(path: path) {
            // Metrics are named by it: it must not hold what the client chose.
            try hold(route.pattern.utf8.count < 64, "a pattern as long as the path: \(route.pattern)")
            try hold(!route.methods.isEmpty && route.bodyLimit > 0, "a route without methods")
        }
        var head = HTTPRequest(method: .get, scheme: nil, authority: nil, path: text)
        if HTTPField.isValidValue(text) { head.headerFields[.requestID] = text }
        let exchange = Exchange(
            head: head, client: ClientConnection(peer: nil, local: nil),
            log: Logger(label: "", factory: { _ in SwiftLogNoOpLogHandler() }))
        try hold(exchange.id.utf8.allSatisfy { (0x21...0x7E).contains($0) }, "a request's id that cannot be printed")
        _ = try? exchange.queryItems()
        _ = exchange.query("limit")
        _ = try? Page(exchange)
    }

    private static func key(_ text: String) {
        // A passphrase takes a third of a second by design.
        guard text.utf8.count < SwarmKeyText.shortestPassphrase || text.utf8.count == 44 && text.utf8.last == 0x3D
        else {
            return
        }
        if text.utf8.count < 44 { _ = try? SwarmKeyText.parse(text) }
    }
}
