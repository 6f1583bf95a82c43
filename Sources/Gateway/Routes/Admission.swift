import Core
import Guardian
import HTTPTypes
import NIOCore
import Node
import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// Decides for every request, whatever its route, whether it may pass, and as whom.
struct Admission: Sendable {
    let hosts: HostRule
    let rule: AccessRule
    /// Nil where this host keeps no tokens.
    let tokens: AccessTokens?
    let rates: RateGate
    let machine: MachineNamesCache
    let link: SwarmLink

    /// The Host and Origin rule. Throws ``RuntimeError``.
    func checkHost(_ exchange: Exchange) throws(RuntimeError) {
        // The rule keeps browsers from being led here. No browser has the certificate of a host of this swarm, and
        // other hosts may know this one by names that it does not know itself.
        guard exchange.client.certificate == nil else { return }
        var names = machine.current()
        // The address that was reached is ours, whenever the list of interfaces was read.
        if let local = exchange.client.local, !names.addresses.contains(local) { names.addresses.insert(local) }
        try hosts.check(host: exchange.head.authority, origin: exchange.head.headerFields[.origin], machine: names)
    }

    /// As whom a request may use a route. Throws ``RuntimeError`` `.unauthenticated` or `.forbidden`, or an
    /// ``APIError`` where a certificate is missing or too much was asked.
    func admit(_ exchange: Exchange, to access: Access) throws -> Identity {
        try rates.admit(exchange.client)
        if access == .peer {
            return Identity(owner: Owner(name: "peer:\(try link.peer(of: exchange).node)"), scopes: [])
        }
        let identity = try rule.admit(Self.caller(exchange), to: access) { [tokens] in
            tokens?.standing(of: $0) ?? .unknown
        }
        try rates.admit(identity.token)
        return identity
    }

    /// What a request shows of its sender.
    static func caller(_ exchange: Exchange) -> AccessRule.Caller {
        let headers = exchange.head.headerFields
        return AccessRule.Caller(
            address: exchange.client.peer, isOwnUser: exchange.client.isOwnUser,
            authorization: headers[.authorization], apiKey: headers[.apiKey])
    }
}

/// The addresses and names of this machine, read again after a while: interfaces come and go.
final class MachineNamesCache: Sendable {
    private static let lifetime = Duration.seconds(10)

    private let state = Mutex<(names: MachineNames, readAt: ContinuousClock.Instant)?>(nil)

    func current() -> MachineNames {
        state.withLock { state in
            if let state, state.readAt.duration(to: .now) < Self.lifetime { return state.names }
            let names = Self.read()
            state = (names, .now)
            return names
        }
    }

    private static func read() -> MachineNames {
        // Without the list the address that was reached is still known (``Admission``).
        let devices = (try? System.enumerateDevices()) ?? []
        let addresses = devices.compactMap { $0.address?.ipAddress.flatMap { IPAddress($0) } }
        var buffer = [CChar](repeating: 0, count: 256)
        guard gethostname(&buffer, buffer.count - 1) == 0 else {
            return MachineNames(addresses: Set(addresses), names: [])
        }
        let name = String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let short = String(name.prefix { $0 != "." })
        return MachineNames(addresses: Set(addresses), names: [name, short, "\(short).local"])
    }
}
