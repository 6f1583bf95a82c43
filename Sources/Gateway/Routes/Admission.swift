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
    /// Nil where there are none.
    var sessions: AuthSessions?

    /// The Host and Origin rule. Throws ``RuntimeError``.
    func checkHost(_ exchange: Exchange) throws(RuntimeError) {
        // The rule keeps browsers from being led here. No browser has the certificate of a host of this swarm, and
        // other hosts may know this one by names that it does not know itself.
        guard exchange.client.certificate == nil else { return }
        guard let origin = exchange.head.headerFields[.origin] else {
            return try exchange.client.lets(in: exchange.head.authority) { () throws(RuntimeError) in
                try checkNames(exchange, origin: nil)
            }
        }
        try checkNames(exchange, origin: origin)
    }

    private func checkNames(_ exchange: Exchange, origin: String?) throws(RuntimeError) {
        var names = machine.current()
        // The address that was reached is ours, whenever the list of interfaces was read.
        if let local = exchange.client.local, !names.addresses.contains(local) { names.addresses.insert(local) }
        try hosts.check(host: exchange.head.authority, origin: origin, machine: names)
    }

    /// As whom a request may use a route. Throws ``RuntimeError`` `.unauthenticated` or `.forbidden`, or an
    /// ``APIError`` where a certificate is missing or too much was asked.
    func admit(_ exchange: Exchange, to access: Access) throws -> Identity {
        try rates.admit(exchange.client)
        if access == .peer {
            return Identity(owner: Owner(name: "peer:\(try link.peer(of: exchange).node)"), scopes: [])
        }
        let isChange = ![.get, .head].contains(exchange.head.method)
        let identity = try rule.admit(
            Self.caller(exchange), to: access, isChange: isChange, tokens: { tokens?.standing(of: $0) ?? .unknown },
            sessions: { sessions?.holder(of: $0) }, isNeighbour: { machine.isNeighbour($0) })
        try rates.admit(identity.token)
        return identity
    }

    /// What a request shows of its sender.
    static func caller(_ exchange: Exchange) -> AccessRule.Caller {
        let headers = exchange.head.headerFields
        return AccessRule.Caller(
            address: exchange.client.peer, isOwnUser: exchange.client.isOwnUser, isSecure: exchange.client.isSecure,
            certificate: exchange.client.clientCertificate,
            authorization: headers.value(of: .authorization), apiKey: headers.value(of: .apiKey))
    }
}

/// The addresses and names of this machine, read again after a while: interfaces come and go.
final class MachineNamesCache: Sendable {
    private static let lifetime = Duration.seconds(10)

    private struct Machine {
        var names: MachineNames
        /// Those that it is on.
        var networks: [AddressRange]
        var readAt = ContinuousClock.now
    }

    private let state = Mutex<Machine?>(nil)

    func current() -> MachineNames { machine().names }

    func isNeighbour(_ address: IPAddress) -> Bool { machine().networks.contains { $0.contains(address) } }

    private func machine() -> Machine {
        state.withLock { state in
            if let state, state.readAt.duration(to: .now) < Self.lifetime { return state }
            // Without the list the address that was reached is still known (``Admission``).
            let devices = (try? System.enumerateDevices()) ?? []
            let machine = Machine(names: Self.names(devices), networks: devices.compactMap(Self.network))
            state = machine
            return machine
        }
    }

    private static func network(of device: NIONetworkDevice) -> AddressRange? {
        guard let address = device.address?.ipAddress, let mask = device.netmask?.ipAddress.flatMap({ IPAddress($0) })
        else { return nil }
        let bits = mask.bytes.dropFirst(mask.isVersion4 ? 12 : 0).reduce(0) { $0 + $1.nonzeroBitCount }
        // A point-to-point address, or a mask that says nothing, makes nobody a neighbour.
        guard bits > 0 else { return nil }
        return AddressRange("\(address.prefix { $0 != "%" })/\(bits)")
    }

    private static func names(_ devices: [NIONetworkDevice]) -> MachineNames {
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
