import Core

/// What the doctor found on this machine: gathered by ``FactGatherer``, judged by the checks. Nil is what could not be
/// found out in time.
struct LocalFacts: Sendable {
    var interfaces: [InterfaceFacts] = []
    var multicast: MulticastFacts?
    var services: ServiceFacts?
    var firewall = FirewallFacts()
    var listeners: [ListeningPort] = []
    /// Connections from here to here.
    var ownAddresses: [NetworkAddress] = []
    var ownOutcomes: [ConnectOutcome] = []
    var seeds: [SeedFacts] = []
    var machine = MachineFacts()
    /// Of peers that are known and not linked.
    var peerOutcomes: [(host: HostReport, outcome: ConnectOutcome)] = []
    /// Of linked peers that were asked; nil where one did not answer.
    var answers: [(host: HostReport, answer: DiagnosisAnswer?)] = []
    var clock: UInt64 = 0
}

struct InterfaceFacts: Hashable, Sendable {
    enum Kind: Hashable, Sendable {
        case physical
        case wireless
        case bridge
        /// Of a container or a virtual machine.
        case virtual
        /// A tunnel: WireGuard, OpenVPN, Tailscale.
        case tunnel
        case loopback
    }

    var interface: NetworkInterface
    var kind: Kind
    var mtu: Int?
    /// A bridge that forwards group traffic only where it was asked for, with nobody who asks.
    var snoopsWithoutQuerier = false
    /// The running daemon (or another program) has joined the beacons' group there.
    var hasJoinedGroup = false

    var name: String { interface.name }
    /// Up, with an address, and not this machine alone.
    var isOnLAN: Bool { interface.isUp && kind != .loopback && !interface.addresses.isEmpty }
}

/// What a real datagram to the beacons' group and port did.
struct MulticastFacts: Hashable, Sendable {
    struct Trial: Hashable, Sendable {
        var interface: String
        var isIPv6: Bool
        var isHeard: Bool
        /// With 1472 bytes, the most that a frame of 1500 carries.
        var isLargeHeard: Bool
        var failure: String?
    }

    var trials: [Trial] = []
    /// The port could not be listened on.
    var bindFailure: String?
    /// Who holds the port alone.
    var holder: String?
}

/// What Avahi, or who stands in for it, had to say.
struct ServiceFacts: Hashable, Sendable {
    var hasLibrary = false
    /// The library's answer to a request to browse; 0 is yes.
    var browseCode: Int32?
    /// Names of services of ours that were seen.
    var names: [String] = []
    var hasSystemBus = false
    /// Programs at UDP port 5353.
    var responders: [String] = []
    var isPort5353Open = false
}

struct FirewallFacts: Hashable, Sendable {
    /// Nil: not readable, `reason` says why.
    var rules: FirewallRules?
    var reason = ""
}

/// A socket that waits for connections.
struct ListeningPort: Hashable, Sendable {
    var address: ScopedAddress
    var port: Int
}

struct SeedFacts: Hashable, Sendable {
    var seed: NetworkAddress
    var addresses: [ScopedAddress]
    var failure: String?
    var outcomes: [ConnectOutcome]
}

struct MachineFacts: Hashable, Sendable {
    var hostname = ""
    var isHostnameKnown: Bool?
    /// `docker`, `podman`, …; nil outside of containers.
    var container: String?
    var descriptorLimit: UInt64 = 0
    /// Other daemons of this program on this machine.
    var otherInstances: [Int32] = []
    var membershipLimit: Int?
    /// The interfaces that a route for the group leads to.
    var groupRoutes: [String] = []
    var hasStrictReversePath: [String] = []
}
