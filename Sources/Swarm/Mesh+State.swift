internal import Core

extension Mesh {
    static let dialsAtOnce = 16
    static let backoff = (first: Duration.milliseconds(100), last: Duration.seconds(30))
    /// Between two dials of one host that a sighting or an operator asks for.
    static let leastPause = Duration.seconds(1)
    /// Until the next address of a host is dialed beside the first: of many addresses only one may lead anywhere.
    static let stagger = Duration.milliseconds(250)
    static let greetingDeadline = Duration.seconds(5)
    static let contentionDeadline = Duration.seconds(1)
    static let pingInterval = Duration.seconds(30)
    /// While a clone of the other is about: should the one that is linked fall silent, the clone is the host itself.
    static let contestedPingInterval = Duration.seconds(1)
    static let resurrectionInterval = Duration.seconds(10)
    /// After a death: it may be another run of the same host that is gone (a clone), and this one was never heard of.
    static let firstResurrection = Duration.milliseconds(500)
    /// While somebody died not long ago: a swarm that was parted finds itself again within seconds.
    static let freshResurrectionInterval = Duration.seconds(2)
    static let freshness = Duration.seconds(600)
    /// A link that lived shorter did not end the trouble.
    static let stability = Duration.seconds(5)
    /// Links beyond the limit with newcomers and those taken for dead, until they know who else there is.
    static let doorLinks = 16
    /// A clone that was not met again for so long is gone.
    static let doubleExpiry = Duration.seconds(120)

    /// One host that this one heard of.
    struct Entry: Sendable {
        var host: MeshHost
        /// Addresses that an operator gave, which may be anywhere.
        var configured: Set<NetworkAddress> = []
        /// ``Membership`` knows it.
        var isMember = false
        /// Dead, or gone with a goodbye: not dialed by itself.
        var isCold = false
        /// Since when it is held for dead.
        var died: Duration?
        /// May be a second run of a host that is linked.
        var isDouble = false
        /// Its link broke, and it was not dialed since.
        var isBroken = false
        /// Rounds through all addresses that came to nothing.
        var failures = 0
        var lastDial: Duration?
        /// Addresses left in this round.
        var untried: [NetworkAddress] = []
        /// How many of its addresses are being dialed.
        var dialing = 0
        /// The most telling failure of this round.
        var failure: LinkFailure?
        /// Where the last link was, which is where it listens.
        var listened: NetworkAddress?
        /// The highest of its attempts that was taken into use.
        var taken: UInt64 = 0
    }

    struct Link: Sendable {
        enum Stage: Hashable, Sendable {
            /// Dialed, greeted, not answered; or accepted and not greeted.
            case greeting
            /// Open only to find out who is there.
            case inquiry
            /// Another run of a host that is linked: waits until the old link has answered a ping or not.
            case contending
            case used
        }

        var node: NodeID
        var swarm: SwarmID
        var address: NetworkAddress
        var isDialed: Bool
        var opened: Duration
        var stage = Stage.greeting
        /// The entry for which it was dialed.
        var dialer: Int?
        /// Of the dialing side.
        var attempt: UInt64 = 0
        var greeting: Greeting?
        /// When it is given up, decided, or pinged.
        var deadline: Duration?
        var ping: Ping?

        init(node: NodeID, swarm: SwarmID, address: NetworkAddress, isDialed: Bool, opened: Duration) {
            self.node = node
            self.swarm = swarm
            self.address = address
            self.isDialed = isDialed
            self.opened = opened
            deadline = opened + Mesh.greetingDeadline
        }
    }

    struct Ping: Hashable, Sendable {
        var token: UInt64
        var sent: Duration
    }

    // MARK: - Entries

    mutating func makeEntry(
        _ node: NodeID?, _ addresses: [NetworkAddress], now: Duration, isDouble: Bool = false
    ) -> Int? {
        guard makeRoom() else { return nil }
        lastEntry += 1
        var entry = Entry(host: MeshHost(node: node, addresses: addresses, lastSeen: now))
        entry.isDouble = isDouble
        entries[lastEntry] = entry
        if let node {
            if !isDouble { byNode[node] = lastEntry }
        } else {
            for address in addresses { byAddress[address] = lastEntry }
        }
        return lastEntry
    }

    private mutating func makeRoom() -> Bool {
        guard entries.count >= Limits.knownHosts else { return true }
        let idle = entries.filter { _, entry in
            entry.host.link == nil && entry.configured.isEmpty && entry.dialing == 0
                && (entry.isCold || !entry.isMember)
        }
        guard let oldest = idle.min(by: { ($0.value.host.lastSeen, $0.key) < ($1.value.host.lastSeen, $1.key) })
        else { return false }
        remove(oldest.key)
        return true
    }

    mutating func remove(_ id: Int) {
        guard let entry = entries.removeValue(forKey: id) else { return }
        nextDials[id] = nil
        if let node = entry.host.node, byNode[node] == id { byNode[node] = nil }
        for address in entry.host.addresses where byAddress[address] == id { byAddress[address] = nil }
        if let instance = entry.host.instance, doubles[instance] == id { doubles[instance] = nil }
        for address in dials.keys.sorted() where dials[address] == id { dials[address] = nil }
    }

    /// The handshake told who is at `address`: what was known of the address is known of the host.
    mutating func bind(_ address: NetworkAddress, to node: NodeID, now: Duration) -> Int? {
        let anonymous = byAddress[address]
        guard let id = byNode[node] ?? makeEntry(node, [address], now: now) else { return nil }
        if let anonymous, let former = entries[anonymous] {
            remove(anonymous)
            entries[id]?.configured.formUnion(former.configured)
            let channels = merged(entries[id]?.host.channels ?? [], former.host.channels)
            entries[id]?.host.channels = channels
        }
        learn(id, [address])
        // It is not where somebody else was said to be.
        for other in entries.keys.sorted() where other != id && entries[other]?.isDouble == false {
            guard let addresses = entries[other]?.host.addresses, addresses.count > 1, addresses.contains(address)
            else { continue }
            entries[other]?.host.addresses.removeAll { $0 == address }
            entries[other]?.untried.removeAll { $0 == address }
        }
        return id
    }

    /// - Returns: whether there was a new one.
    @discardableResult
    mutating func learn(_ id: Int, _ addresses: [NetworkAddress]) -> Bool {
        guard var entry = entries[id] else { return false }
        let new = addresses.filter { !entry.host.addresses.contains($0) && !isOwn($0) }
        guard !new.isEmpty else { return false }
        // The newest are the best, but for the one that worked and those that an operator gave.
        let kept = entry.host.addresses.filter { $0 == entry.listened || entry.configured.contains($0) }
        let rest = entry.host.addresses.filter { !kept.contains($0) }
        entry.host.addresses = Array((kept + new + rest).prefix(Limits.memberAddresses))
        if entry.host.node == nil { for address in entry.host.addresses { byAddress[address] = id } }
        entries[id] = entry
        return true
    }

    func merged(_ left: [DiscoveryChannel], _ right: [DiscoveryChannel]) -> [DiscoveryChannel] {
        Set(left + right).sorted()
    }

    func isOwn(_ address: NetworkAddress) -> Bool {
        mirrors.contains(address) || addresses.contains(address)
    }

    mutating func stand(_ id: Int, _ standing: MeshHost.Standing, _ whyNot: String?) {
        guard let host = entries[id]?.host, host.standing != standing || host.whyNot != whyNot else { return }
        entries[id]?.host.standing = standing
        entries[id]?.host.whyNot = whyNot
        // That it is linked, others say; that it is tried, nobody needs to know.
        if standing != .linked, standing != .connecting, standing != host.standing, let host = entries[id]?.host {
            effects.append(.noticed(host))
        }
    }
}

extension NetworkAddress {
    private static let nearRanges = [
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8", "fc00::/7", "fe80::/10",
        "::1",
    ].compactMap { AddressRange($0) }

    /// In a private, link-local or loopback block. What others tell may lead nowhere else: a hostile member must not
    /// make this host knock at doors in the Internet. A name is not near: it may lead anywhere.
    package var isNear: Bool {
        guard let address = IPAddress(host) else { return false }
        return Self.nearRanges.contains { $0.contains(address) }
    }

    var isLoopback: Bool { IPAddress(host)?.isLoopback ?? (host == "localhost") }
}
